/* mock_upstream: an OpenAI-compatible Chat Completions server that costs next to nothing.
 *
 *   mock_upstream [PORT]      prints {"port": N} once it listens on 127.0.0.1
 *
 *   POST /v1/chat/completions   the model id says what to answer, see script.h:
 *       bench-16-0     16 tokens, flat out          bench-250-20   250 tokens, one each 20 ms
 *       bench-idle     one token, then silence until the client leaves
 *   GET  /v1/models             one model
 *   GET  /stats                 counters as JSON: whether a gateway reuses its connections, and closes cut streams
 *
 * One write per event, paced or not. One thread, one epoll set, level-triggered. Responses are shared, read-only
 * scripts. Keep-alive, Content-Length request bodies only (a chunked one gets 400). No TLS, no authentication. */
#include "net.h"
#include "script.h"
#include "wheel.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 512,
    INPUT_START = 4096,
    MAX_INPUT = 8 << 20, /* head and body of one request */
};

typedef struct Conn {
    Timer timer; /* first: the wheel hands back this address */
    int fd;
    char *in;
    size_t in_len, in_cap;
    const char *out; /* bytes of the response under way; NULL when waiting for a request */
    char *owned;     /* `out` when it is not a script's */
    size_t sent, due;
    const Script *script;
    size_t step;
    uint64_t next_ns;
    bool want_write;
} Conn;

static int epoll_fd;
static Wheel wheel;
static struct {
    unsigned long accepted, open, requests, streams_active, streams_finished, streams_cut, bad_requests;
} stats;

static void close_conn(Conn *conn) {
    if (conn->script && conn->script->stream) {
        stats.streams_active--;
        stats.streams_cut++;
    }
    stats.open--;
    wheel_remove(&wheel, &conn->timer);
    close(conn->fd);
    free(conn->owned);
    free(conn->in);
    free(conn);
}

static void watch(Conn *conn, bool want_write) {
    if (conn->want_write == want_write) return;
    conn->want_write = want_write;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (want_write ? EPOLLOUT : 0), .data.ptr = conn};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
}

/* --- responding --- */

static void end_response(Conn *conn) {
    if (conn->script && conn->script->stream) {
        stats.streams_active--;
        stats.streams_finished++;
    }
    free(conn->owned);
    conn->owned = NULL;
    conn->out = NULL;
    conn->script = NULL;
}

/* Arm the timer of the next step. Flat out means: one event to every stream in turn, as a batching model server does,
 * not one stream after another. */
static void plan_next_step(Conn *conn) {
    if (!conn->script->pace_ms) {
        wheel_add_soon(&wheel, &conn->timer);
        return;
    }
    /* From the planned time, not from now: lateness must not add up. */
    conn->next_ns += conn->script->pace_ms * 1000000ull;
    wheel_add(&wheel, &conn->timer, conn->next_ns);
}

/* Send what is due, then plan the next step or end the response. Returns false when the connection broke. */
static bool push(Conn *conn) {
    while (conn->sent < conn->due) {
        ssize_t n = send(conn->fd, conn->out + conn->sent, conn->due - conn->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(conn, true);
            return true;
        }
        if (n < 0) return false;
        conn->sent += (size_t)n;
    }
    watch(conn, false);
    const Script *script = conn->script;
    bool last = !script || conn->step + 1 == script->steps;
    if (last && !(script && script->endless)) end_response(conn);
    else if (!last) plan_next_step(conn);
    return true;
}

static bool next_step(Conn *conn) {
    conn->due = conn->script->ends[++conn->step];
    return push(conn);
}

static bool respond_json(Conn *conn, int status, const char *body) {
    conn->owned = json_response(status, body, &conn->due);
    conn->out = conn->owned;
    conn->sent = 0;
    return push(conn);
}

static bool respond_stats(Conn *conn) {
    char body[512];
    snprintf(body, sizeof body,
             "{\"connections_accepted\":%lu,\"connections_open\":%lu,\"requests\":%lu,\"bad_requests\":%lu,"
             "\"streams_active\":%lu,\"streams_finished\":%lu,\"streams_cut\":%lu}",
             stats.accepted, stats.open, stats.requests, stats.bad_requests, stats.streams_active,
             stats.streams_finished, stats.streams_cut);
    return respond_json(conn, 200, body);
}

static bool respond_script(Conn *conn, const char *body, size_t size) {
    const Script *script = script_for(body, size);
    stats.requests++;
    if (!script) {
        stats.bad_requests++;
        return respond_json(conn, 404, "{\"error\":{\"message\":\"expected a model bench-TOKENS-PACE_MS or bench-idle\","
                                       "\"type\":\"invalid_request_error\",\"param\":\"model\",\"code\":\"model_not_found\"}}");
    }
    if (script->stream) stats.streams_active++;
    conn->script = script;
    conn->out = script->bytes;
    conn->sent = 0;
    conn->step = 0;
    conn->due = script->ends[0];
    conn->next_ns = now_ns();
    return push(conn);
}

/* --- requests --- */

/* The value of Content-Length, 0 without one, -1 when the body is framed in a way we do not read. */
static long body_length(const char *head, size_t size) {
    long length = 0;
    const char *end = head + size;
    for (const char *line = head; line < end;) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        if (!eol) break;
        if (!strncasecmp(line, "content-length:", 15)) length = strtol(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding:", 18)) return -1;
        line = eol + 1;
    }
    return length >= 0 && length <= MAX_INPUT ? length : -1;
}

static bool route(Conn *conn, const char *head, const char *body, size_t size) {
    if (!strncmp(head, "POST /v1/chat/completions ", 26)) return respond_script(conn, body, size);
    if (!strncmp(head, "GET /stats ", 11)) return respond_stats(conn);
    if (!strncmp(head, "GET /v1/models ", 15))
        return respond_json(conn, 200, "{\"object\":\"list\",\"data\":[{\"id\":\"bench-16-0\",\"object\":\"model\","
                                       "\"created\":1700000000,\"owned_by\":\"bench\"}]}");
    return respond_json(conn, 404, "{\"error\":{\"message\":\"no such route\",\"type\":\"invalid_request_error\"}}");
}

/* Answer every complete request in the buffer, one at a time. Returns false when the connection is to be closed. */
static bool serve(Conn *conn) {
    while (!conn->out && conn->in_len) {
        char *head_end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);
        if (!head_end) return true;
        size_t head_len = (size_t)(head_end - conn->in) + 4;
        long length = body_length(conn->in, head_len);
        if (length < 0) {
            stats.bad_requests++;
            respond_json(conn, 400, "{\"error\":{\"message\":\"a body needs Content-Length\",\"type\":\"invalid_request_error\"}}");
            return false;
        }
        size_t total = head_len + (size_t)length;
        if (conn->in_len < total) return true;
        if (!route(conn, conn->in, conn->in + head_len, (size_t)length)) return false;
        memmove(conn->in, conn->in + total, conn->in_len - total);
        conn->in_len -= total;
    }
    return true;
}

static bool receive(Conn *conn) {
    if (conn->in_len == conn->in_cap) {
        conn->in_cap = conn->in_cap ? conn->in_cap * 2 : INPUT_START;
        if (conn->in_cap > MAX_INPUT) return false;
        conn->in = xrealloc(conn->in, conn->in_cap);
    }
    ssize_t n = recv(conn->fd, conn->in + conn->in_len, conn->in_cap - conn->in_len, 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    conn->in_len += (size_t)n;
    return serve(conn);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) return;
            die("accept");
        }
        set_nodelay(fd);
        Conn *conn = xmalloc(sizeof *conn);
        *conn = (Conn){.fd = fd};
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = conn};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
        stats.accepted++;
        stats.open++;
    }
}

static void handle(Conn *conn, uint32_t events) {
    bool alive = !(events & (EPOLLERR | EPOLLHUP));
    if (alive && (events & EPOLLOUT)) alive = push(conn) && serve(conn);
    if (alive && (events & (EPOLLIN | EPOLLRDHUP))) alive = receive(conn);
    if (!alive) close_conn(conn);
}

int main(int argc, char **argv) {
    uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
    struct epoll_event events[MAX_EVENTS];

    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    int listener = listen_loopback(&port);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &listening);
    wheel_init(&wheel, now_ns());
    printf("{\"port\": %u}\n", port);
    fflush(stdout);

    for (;;) {
        int n = epoll_wait(epoll_fd, events, MAX_EVENTS, wheel_timeout_ms(&wheel, now_ns()));
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) handle(events[i].data.ptr, events[i].events);
            else accept_all(listener);
        }
        wheel_advance(&wheel, now_ns());
        for (Timer *timer; (timer = wheel_pop(&wheel));) {
            Conn *conn = (Conn *)timer;
            if (!(next_step(conn) && serve(conn))) close_conn(conn);
        }
    }
}
