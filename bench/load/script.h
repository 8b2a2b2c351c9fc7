/* Scripts: the whole HTTP response to one kind of request, built once and shared by every connection.
 *
 * A stream is one byte string cut into steps; sending step k means "bytes up to ends[k] are due".
 *
 *   | head, role chunk | token | token | ... | finish, usage, [DONE], last chunk |
 *                  ends[0]  ends[1]                                     ends[n-1]
 *
 * Every SSE event is one HTTP chunk, as servers that write per event send it. */
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Script {
    char *bytes;
    size_t *ends;
    size_t steps;
    unsigned pace_ms; /* between steps; 0 = as fast as possible */
    bool endless;     /* after the last step: silence until the peer closes */
    bool stream;
} Script;

/* The script for a JSON request body: `model` (`bench-TOKENS-PACE_MS` or `bench-idle`, any prefix up to a slash),
 * `stream`, `stream_options.include_usage`. NULL when the model is unknown. Scripts live until exit. */
const Script *script_for(const char *body, size_t size);

/* A plain response with a JSON body; the caller frees it. Stores the length in *size. */
char *json_response(int status, const char *body, size_t *size);

#endif
