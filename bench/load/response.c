#include "response.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void response_reset(Response *response) {
    /* All but the buffers, whose lengths are zero then: they are large, and this runs once per request. */
    memset(response, 0, offsetof(Response, line));
    response->size_len = 0;
    response->keep_alive = true;
}

/* --- SSE --- */

static void end_line(Response *response, const Dialect *dialect, const char *line, size_t size) {
    if (size < 5 || memcmp(line, "data:", 5)) return; /* comments, blank lines, event: and id: */
    response->events++;
    if (response->terminated && size >= 12 && !memcmp(line, "data: [DONE]", 12)) return; /* some end other dialects with it, too */
    response->terminated = memmem(line, size, dialect->terminal, strlen(dialect->terminal)) != NULL;
    if (memmem(line, size < 32 ? size : 32, "{\"error\"", 8)) response->error_event = true;
    if (response->has_content) return;
    size_t prefix = strlen(dialect->content);
    const char *text = memmem(line, size, dialect->content, prefix);
    if (text && text + prefix < line + size && text[prefix] != '"') response->has_content = true;
}

/* A line whole in this read is looked at in place; only one split over reads is copied. */
static void feed_sse(Response *response, const Dialect *dialect, const char *data, size_t size) {
    const char *end = data + size;
    while (data < end) {
        const char *eol = memchr(data, '\n', (size_t)(end - data));
        size_t part = (size_t)((eol ? eol : end) - data);
        if (eol && !response->line_len) {
            end_line(response, dialect, data, part);
        } else {
            size_t room = MAX_LINE - response->line_len;
            size_t kept = part < room ? part : room;
            memcpy(response->line + response->line_len, data, kept);
            response->line_len += (unsigned)kept;
            if (eol) {
                end_line(response, dialect, response->line, response->line_len);
                response->line_len = 0;
            }
        }
        data += part + (eol != NULL);
    }
}

static void feed_body(Response *response, const Dialect *dialect, const char *data, size_t size) {
    response->body_bytes += size;
    if (response->sse) feed_sse(response, dialect, data, size);
    else if (size) response->has_content = true;
}

/* --- HTTP --- */

static const char *header(const char *head, const char *name) {
    size_t size = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, size) && line[2 + size] == ':') return line + 3 + size + strspn(line + 3 + size, " ");
    return NULL;
}

static State end_head(Response *response) {
    const char *head = response->head;
    if (strncmp(head, "HTTP/1.1 ", 9)) return BROKEN;
    response->status = atoi(head + 9);
    const char *type = header(head, "content-type");
    response->sse = type && !strncasecmp(type, "text/event-stream", 17);
    const char *connection = header(head, "connection");
    if (connection && !strncasecmp(connection, "close", 5)) response->keep_alive = false;
    const char *encoding = header(head, "transfer-encoding");
    if (encoding && !strncasecmp(encoding, "chunked", 7)) return IN_CHUNK_SIZE;
    const char *length = header(head, "content-length");
    if (length) {
        response->left = strtoul(length, NULL, 10);
        return response->left ? IN_LENGTH : COMPLETE;
    }
    response->keep_alive = false;
    return UNTIL_CLOSE;
}

static size_t feed_head(Response *response, const char *data, size_t size) {
    unsigned before = response->head_len;
    size_t room = MAX_HEAD - 1 - before;
    size_t kept = size < room ? size : room;
    memcpy(response->head + before, data, kept);
    response->head[before + kept] = 0;
    /* The blank line may have begun in an earlier read. */
    char *from = response->head + (before > 3 ? before - 3 : 0);
    char *end = strstr(from, "\r\n\r\n");
    if (!end) {
        response->head_len += (unsigned)kept;
        if (kept == room) response->state = BROKEN;
        return kept;
    }
    end[2] = 0;
    size_t used = (size_t)(end + 4 - response->head) - before;
    response->state = end_head(response);
    return used;
}

/* One line of framing, without its CR LF, into size_line. Returns false while it is not complete. */
static bool take_line(Response *response, const char **data, const char *end) {
    while (*data < end) {
        char c = *(*data)++;
        if (c == '\n') {
            response->size_line[response->size_len] = 0;
            response->size_len = 0;
            return true;
        }
        if (c == '\r') continue;
        if (response->size_len + 1 < sizeof response->size_line) response->size_line[response->size_len++] = c;
    }
    return false;
}

static void end_size_line(Response *response) {
    char *end;
    response->left = strtoul(response->size_line, &end, 16);
    if (end == response->size_line || (*end && *end != ';' && *end != ' ')) response->state = BROKEN;
    else response->state = response->left ? IN_CHUNK : IN_TRAILER;
}

size_t response_feed(Response *response, const Dialect *dialect, const char *data, size_t size) {
    const char *start = data, *end = data + size;
    while (data < end && response->state < COMPLETE) {
        size_t n = (size_t)(end - data);
        switch (response->state) {
        case IN_HEAD:
            data += feed_head(response, data, n);
            break;
        case IN_CHUNK_SIZE:
            if (take_line(response, &data, end)) end_size_line(response);
            break;
        case AFTER_CHUNK:
            if (take_line(response, &data, end)) response->state = response->size_line[0] ? BROKEN : IN_CHUNK_SIZE;
            break;
        case IN_TRAILER:
            if (take_line(response, &data, end) && !response->size_line[0]) response->state = COMPLETE;
            break;
        case IN_LENGTH:
        case IN_CHUNK:
            if (n > response->left) n = response->left;
            feed_body(response, dialect, data, n);
            data += n;
            response->left -= n;
            if (!response->left) response->state = response->state == IN_CHUNK ? AFTER_CHUNK : COMPLETE;
            break;
        default: /* UNTIL_CLOSE */
            feed_body(response, dialect, data, n);
            data += n;
        }
    }
    return (size_t)(data - start);
}
