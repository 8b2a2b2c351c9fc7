/* Reading one HTTP response with an SSE or JSON body, in any cut: framing, event count, how it ended.
 *
 * Pure: no socket, no clock. Feed it what was read; it says what is new. */
#ifndef BENCH_RESPONSE_H
#define BENCH_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MAX_HEAD = 4096, /* response head: a gateway that sends more is at fault */
    MAX_LINE = 1024, /* what is kept of a line split over reads; a longer one still counts as one event */
};

typedef enum State { IN_HEAD, IN_LENGTH, IN_CHUNK_SIZE, IN_CHUNK, AFTER_CHUNK, IN_TRAILER, UNTIL_CLOSE, COMPLETE, BROKEN } State;

/* What a good stream of this dialect looks like; both are looked for inside data lines. */
typedef struct Dialect {
    const char *terminal; /* in the last event, e.g. [DONE] */
    const char *content;  /* in every event with text, up to its opening quote, e.g. "content":" */
} Dialect;

typedef struct Response {
    State state;
    int status;
    bool sse, keep_alive;
    bool has_content;    /* the first text has come (for JSON: the first byte of the body) */
    bool terminated;     /* the last event so far is the terminal one */
    bool error_event;    /* an event holds an error object */
    unsigned events;     /* data lines so far */
    size_t body_bytes;
    size_t left;         /* of the body or chunk */
    unsigned line_len;   /* bytes of the line under way, in `line` */
    unsigned head_len;
    char line[MAX_LINE];
    unsigned size_len;   /* bytes of the chunk-size or trailer line under way; an SSE line may be open as well */
    char size_line[24];
    char head[MAX_HEAD];
} Response;

void response_reset(Response *response);

/* Returns how many bytes were used: less than size only when the response is COMPLETE or BROKEN. */
size_t response_feed(Response *response, const Dialect *dialect, const char *data, size_t size);

#endif
