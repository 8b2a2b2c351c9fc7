#include "script.h"

#include "net.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_TOKENS = 100000, /* 25 MB of script: more is a typing error */
    MAX_PACE_MS = 60000,
    MAX_SCRIPTS = 64,
    MAX_MODEL = 64,
};

static const char *const WORDS[] = {" the", " quick", " brown", " fox", " jump", "ed", " over", " a", " lazy", " dog", "."};
enum { N_WORDS = sizeof WORDS / sizeof *WORDS };

/* --- a growing string --- */

typedef struct Text {
    char *bytes;
    size_t len, cap;
} Text;

static void append(Text *text, const char *bytes, size_t size) {
    if (text->len + size > text->cap) {
        text->cap = (text->len + size) * 2;
        text->bytes = xrealloc(text->bytes, text->cap);
    }
    memcpy(text->bytes + text->len, bytes, size);
    text->len += size;
}

static void appendf(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void appendf(Text *text, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof line) die("script line too long");
    append(text, line, (size_t)size);
}

/* --- reading the request --- */

typedef struct Request {
    char model[MAX_MODEL];
    unsigned tokens, pace_ms;
    bool idle, stream, usage;
} Request;

/* The value after the first `"key":` of the body. No JSON parser: the bodies are the benchmark's own, and the keys
 * looked for do not occur in their texts. */
static const char *value_of(const char *body, size_t size, const char *key) {
    const char *end = body + size;
    const char *at = memmem(body, size, key, strlen(key));
    if (!at) return NULL;
    at += strlen(key);
    while (at < end && (isspace((unsigned char)*at) || *at == ':')) at++;
    return at < end ? at : NULL;
}

static bool is_true(const char *body, size_t size, const char *key) {
    const char *value = value_of(body, size, key);
    return value && body + size - value >= 4 && !memcmp(value, "true", 4);
}

static bool parse_request(const char *body, size_t size, Request *out) {
    memset(out, 0, sizeof *out);
    const char *model = value_of(body, size, "\"model\"");
    if (!model || *model != '"') return false;
    const char *end = memchr(model + 1, '"', (size_t)(body + size - model - 1));
    if (!end) return false;
    const char *slash = memrchr(model + 1, '/', (size_t)(end - model - 1));
    const char *name = slash ? slash + 1 : model + 1;
    if (end - name >= MAX_MODEL) return false;
    memcpy(out->model, name, (size_t)(end - name));
    out->stream = is_true(body, size, "\"stream\"");
    out->usage = is_true(body, size, "\"include_usage\"");
    if (!strcmp(out->model, "bench-idle")) {
        out->idle = true;
        out->tokens = 1;
        return true;
    }
    int used = 0;
    return sscanf(out->model, "bench-%6u-%5u%n", &out->tokens, &out->pace_ms, &used) == 2 && !out->model[used] &&
           out->tokens >= 1 && out->tokens <= MAX_TOKENS && out->pace_ms <= MAX_PACE_MS;
}

/* --- building --- */

/* One SSE event as one HTTP chunk. */
static void append_event(Text *text, const char *data) {
    size_t size = strlen(data);
    appendf(text, "%zx\r\ndata: ", size + 8);
    append(text, data, size);
    append(text, "\n\n\r\n", 4);
}

static void append_chunk(Text *text, const Request *request, const char *choices, const char *usage) {
    char json[1024];
    snprintf(json, sizeof json,
             "{\"id\":\"chatcmpl-BenchBenchBenchBenchBench123\",\"object\":\"chat.completion.chunk\","
             "\"created\":1700000000,\"model\":\"%s\",\"choices\":[%s]%s}",
             request->model, choices, usage);
    append_event(text, json);
}

static const char *usage_json(const Request *request, char *out, size_t size) {
    snprintf(out, size,
             ",\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":%u,\"total_tokens\":%u,"
             "\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
             request->tokens, request->tokens + 24);
    return out;
}

static void end_step(Script *script, const Text *text) {
    script->ends = xrealloc(script->ends, (script->steps + 1) * sizeof *script->ends);
    script->ends[script->steps++] = text->len;
}

static void build_stream(Script *script, const Request *request) {
    Text text = {0};
    char choice[256], usage[256];
    /* OpenAI sends a null usage in every chunk when the usage chunk was asked for. */
    const char *none = request->usage ? ",\"usage\":null" : "";
    appendf(&text,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
            "x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n");
    append_chunk(&text, request,
                 "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,"
                 "\"finish_reason\":null}", none);
    for (unsigned i = 0; i < request->tokens; i++) {
        end_step(script, &text);
        snprintf(choice, sizeof choice,
                 "{\"index\":0,\"delta\":{\"content\":\"%s\"},\"logprobs\":null,\"finish_reason\":null}", WORDS[i % N_WORDS]);
        append_chunk(&text, request, choice, none);
    }
    end_step(script, &text);
    if (!request->idle) {
        append_chunk(&text, request, "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}", none);
        if (request->usage) append_chunk(&text, request, "", usage_json(request, usage, sizeof usage));
        append_event(&text, "[DONE]");
        appendf(&text, "0\r\n\r\n");
        end_step(script, &text);
    }
    script->bytes = text.bytes;
}

static void build_json(Script *script, const Request *request) {
    Text text = {0};
    char usage[256];
    size_t size;
    appendf(&text,
            "{\"id\":\"chatcmpl-BenchBenchBenchBenchBench123\",\"object\":\"chat.completion\",\"created\":1700000000,"
            "\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
            request->model);
    for (unsigned i = 0; i < request->tokens; i++) appendf(&text, "%s", WORDS[i % N_WORDS]);
    appendf(&text,
            "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}]%s,"
            "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench0001\"}",
            usage_json(request, usage, sizeof usage));
    append(&text, "", 1);
    script->bytes = json_response(200, text.bytes, &size);
    free(text.bytes);
    script->ends = xmalloc(sizeof *script->ends);
    script->ends[script->steps++] = size;
}

const Script *script_for(const char *body, size_t size) {
    static struct { Request request; Script script; } cache[MAX_SCRIPTS];
    static unsigned n_cached;

    Request request;
    if (!parse_request(body, size, &request)) return NULL;
    if (!request.stream && request.idle) return NULL; /* nothing to keep open */
    for (unsigned i = 0; i < n_cached; i++)
        if (!memcmp(&cache[i].request, &request, sizeof request)) return &cache[i].script;
    if (n_cached == MAX_SCRIPTS) die("more than %d different requests", MAX_SCRIPTS);
    cache[n_cached].request = request;
    Script *script = &cache[n_cached++].script;
    script->pace_ms = request.pace_ms;
    script->endless = request.idle;
    script->stream = request.stream;
    if (request.stream) build_stream(script, &request);
    else build_json(script, &request);
    return script;
}

char *json_response(int status, const char *body, size_t *size) {
    Text text = {0};
    const char *reason = status == 200 ? "OK" : status == 404 ? "Not Found" : "Bad Request";
    appendf(&text, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", status, reason,
            strlen(body));
    append(&text, body, strlen(body));
    *size = text.len;
    return text.bytes;
}
