/* load: closed-loop HTTP/1.1 load generator that reads streams to their end and judges them.
 *
 *   load --port N --body FILE [options]      prints one JSON object; exit code 0 when there was no error, 1 otherwise
 *
 * Every connection sends a request, reads the answer to its end, waits about --think-ms (half of it to one and a half,
 * by chance), and goes on until --requests were sent in all or --duration is over. With --hold it opens one stream per
 * connection instead, prints {"holding": N} once each has shown its first text, and keeps them open until standard
 * input is closed.
 *
 * A response is good when its status is 200, it is complete, and, for a stream: its last event holds the terminal
 * marker, no event is an error, and there were as many events as --events says. Anything else is counted by cause. */
#include "histogram.h"
#include "net.h"
#include "response.h"
#include "wheel.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 512,
    READ_SIZE = 256 << 10,
    MAX_ERRORS = 1000, /* then the target is down: stop, do not spin */
    MAX_HEADERS = 4096,
};

typedef struct Conn {
    Timer timer; /* first: the wheel hands back this address */
    int fd;      /* -1 while closed */
    bool busy;   /* a request is under way */
    bool held;
    size_t sent;
    uint64_t start_ns, last_event_ns;
    Response response;
} Conn;

static struct Options {
    uint16_t port;
    const char *path, *body_file;
    char headers[MAX_HEADERS];
    unsigned connections, events, think_ms, ramp_ms;
    unsigned long requests;
    double duration_s;
    bool hold;
    Dialect dialect;
} options = {.path = "/v1/chat/completions", .connections = 1, .requests = 1,
             .dialect = {.terminal = "[DONE]", .content = "\"content\":\""}};

typedef enum Cause { CONNECT, RESET, STATUS, FRAMING, TRUNCATED, NO_TERMINAL, ERROR_EVENT, EVENT_COUNT, N_CAUSES } Cause;
static const char *const CAUSES[N_CAUSES] = {"connect", "reset", "status", "framing", "truncated", "no_terminal", "error_event", "event_count"};

static struct {
    unsigned long issued, ok, errors[N_CAUSES], all_errors, events, bytes, opened, held;
    int bad_status;
    Histogram ttft, gap, latency;
} results;

static int epoll_fd;
static Wheel wheel;
static char *request;
static size_t request_size;
static uint64_t deadline_ns;
static unsigned active; /* connections with a request under way or planned */

/* --- one connection --- */

static void send_request(Conn *conn);

static void disconnect(Conn *conn) {
    if (conn->fd >= 0) close(conn->fd);
    conn->fd = -1;
}

static bool may_issue(uint64_t now) {
    if (results.all_errors >= MAX_ERRORS) return false;
    return deadline_ns ? now < deadline_ns : results.issued < options.requests;
}

/* Half of the think time to one and a half. Equal pauses would bring the connections into step: whoever answers first
 * waits for the same millisecond as the next, and from then on each request meets another one. */
static uint64_t pause_ns(void) {
    static uint64_t chance = 88172645463325252ull; /* xorshift64: the same pauses in every run */
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    uint64_t think_ns = options.think_ms * 1000000ull;
    return think_ns / 2 + chance % (think_ns + 1);
}

/* Send the next request now or after the think time, or let the connection rest for good. */
static void go_on(Conn *conn, uint64_t now) {
    conn->busy = false;
    if (options.hold || !may_issue(now)) {
        active--;
        disconnect(conn);
    } else if (options.think_ms) {
        wheel_add(&wheel, &conn->timer, now + pause_ns());
    } else {
        send_request(conn);
    }
}

static void fail(Conn *conn, Cause cause) {
    results.errors[cause]++;
    results.all_errors++;
    if (cause == STATUS) results.bad_status = conn->response.status;
    if (conn->held) results.held--;
    disconnect(conn);
    go_on(conn, now_ns());
}

static void watch(Conn *conn, int operation, bool want_write) {
    struct epoll_event event = {.events = EPOLLIN | (want_write ? EPOLLOUT : 0), .data.ptr = conn};
    if (epoll_ctl(epoll_fd, operation, conn->fd, &event)) die("epoll_ctl");
}

static void flush(Conn *conn, bool was_waiting) {
    ssize_t n = send(conn->fd, request + conn->sent, request_size - conn->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail(conn, RESET);
        return;
    }
    if (n > 0) conn->sent += (size_t)n;
    bool waiting = conn->sent < request_size;
    if (waiting != was_waiting) watch(conn, EPOLL_CTL_MOD, waiting);
}

static void send_request(Conn *conn) {
    uint64_t now = now_ns();
    if (!may_issue(now)) {
        active--;
        disconnect(conn);
        return;
    }
    results.issued++;
    response_reset(&conn->response);
    conn->busy = true;
    conn->sent = 0;
    conn->start_ns = now;
    conn->last_event_ns = 0;
    if (conn->fd >= 0) {
        flush(conn, false);
        return;
    }
    conn->fd = connect_loopback(options.port);
    if (conn->fd < 0) {
        fail(conn, CONNECT);
        return;
    }
    results.opened++;
    watch(conn, EPOLL_CTL_ADD, true);
}

/* --- judging responses --- */

static void judge(Conn *conn, uint64_t now) {
    const Response *r = &conn->response;
    results.bytes += r->body_bytes;
    if (r->status != 200) fail(conn, STATUS);
    else if (r->error_event) fail(conn, ERROR_EVENT);
    else if (r->sse && !r->terminated) fail(conn, NO_TERMINAL);
    else if (options.events && r->events != options.events) fail(conn, EVENT_COUNT);
    else {
        results.ok++;
        hist_add(&results.latency, now - conn->start_ns);
        if (!r->keep_alive) disconnect(conn);
        go_on(conn, now);
    }
}

static void take(Conn *conn, const char *data, size_t size, uint64_t now) {
    Response *r = &conn->response;
    unsigned events = r->events;
    bool had_content = r->has_content;
    size_t used = response_feed(r, &options.dialect, data, size);

    if (!had_content && r->has_content) {
        hist_add(&results.ttft, now - conn->start_ns);
        if (options.hold) {
            conn->held = true;
            results.held++;
        }
    }
    for (; events < r->events; events++) {
        if (conn->last_event_ns) hist_add(&results.gap, now - conn->last_event_ns);
        conn->last_event_ns = now;
        results.events++;
    }
    if (r->state == BROKEN || used < size) fail(conn, FRAMING); /* nothing may follow a response we asked nothing after */
    else if (r->state == COMPLETE) judge(conn, now);
}

static void end_of_connection(Conn *conn, bool reset) {
    if (!conn->busy) disconnect(conn); /* idle keep-alive connection closed by the peer: legal, opened anew */
    else if (!reset && conn->response.state == UNTIL_CLOSE) judge(conn, now_ns());
    else fail(conn, reset ? RESET : TRUNCATED);
}

static void handle(Conn *conn, uint32_t events) {
    static char buffer[READ_SIZE];
    if (events & EPOLLOUT) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) fail(conn, CONNECT);
        else flush(conn, true);
        return;
    }
    ssize_t n = recv(conn->fd, buffer, sizeof buffer, 0);
    if (n > 0 && conn->busy) take(conn, buffer, (size_t)n, now_ns());
    else if (n > 0) fail(conn, FRAMING);
    else if (n == 0 || errno != EAGAIN) end_of_connection(conn, n < 0);
}

/* --- the run --- */

/* Returns true when standard input was closed: the end of --hold. */
static bool wait_and_handle(void) {
    struct epoll_event events[MAX_EVENTS];
    bool told = false;
    uint64_t now = now_ns();
    int n = epoll_wait(epoll_fd, events, MAX_EVENTS, wheel_timeout_ms(&wheel, now));
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
        Conn *conn = events[i].data.ptr;
        if (!conn) told = read(STDIN_FILENO, &(char[64]){0}, 64) <= 0;
        else if (conn->fd >= 0) handle(conn, events[i].events);
    }
    wheel_advance(&wheel, now_ns());
    for (Timer *timer; (timer = wheel_pop(&wheel));) send_request((Conn *)timer);
    return told;
}

static void run(void) {
    Conn *conns = xmalloc(options.connections * sizeof *conns);
    uint64_t start = now_ns();
    deadline_ns = options.duration_s > 0 ? start + (uint64_t)(options.duration_s * 1e9) : 0;
    if (options.hold) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
        options.requests = options.connections;
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event)) die("--hold needs a pipe as standard input");
    }
    wheel_init(&wheel, start);
    active = options.connections;
    for (unsigned i = 0; i < options.connections; i++) {
        conns[i].fd = -1;
        conns[i].busy = conns[i].held = false;
        conns[i].timer = (Timer){0};
        wheel_add(&wheel, &conns[i].timer, start + options.ramp_ms * 1000000ull * i / options.connections);
    }
    bool told = false, announced = false;
    while (active && !told) {
        told = wait_and_handle();
        if (options.hold && !announced && results.held + results.all_errors >= options.connections) {
            announced = true;
            printf("{\"holding\": %lu}\n", results.held);
            fflush(stdout);
        }
    }
}

static void print_histogram(const char *name, const Histogram *h) {
    printf(", \"%s_us\": {\"count\": %lu, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}", name, h->count,
           hist_quantile_us(h, 0.5), hist_quantile_us(h, 0.9), hist_quantile_us(h, 0.99), (double)h->max / 1000);
}

static void print_results(double elapsed_s) {
    printf("{\"requests\": %lu, \"ok\": %lu, \"held\": %lu, \"events\": %lu, \"body_bytes\": %lu, \"connections_opened\": %lu, "
           "\"elapsed_s\": %.4f, \"errors_total\": %lu, \"bad_status\": %d, \"errors\": {",
           results.issued, results.ok, results.held, results.events, results.bytes, results.opened, elapsed_s,
           results.all_errors, results.bad_status);
    for (int i = 0; i < N_CAUSES; i++) printf("%s\"%s\": %lu", i ? ", " : "", CAUSES[i], results.errors[i]);
    printf("}");
    print_histogram("ttft", &results.ttft);
    print_histogram("gap", &results.gap);
    print_histogram("latency", &results.latency);
    printf("}\n");
}

/* --- options --- */

static void build_request(void) {
    int fd = open(options.body_file, O_RDONLY);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (size < 0) die("cannot read %s", options.body_file);
    request = xmalloc((size_t)size + sizeof options.headers + strlen(options.path) + 256);
    int head = sprintf(request,
                       "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: streamward-bench\r\nAccept: */*\r\n"
                       "Content-Type: application/json\r\n%sContent-Length: %ld\r\n\r\n",
                       options.path, options.port, options.headers, (long)size);
    if (pread(fd, request + head, (size_t)size, 0) != size) die("cannot read %s", options.body_file);
    close(fd);
    request_size = (size_t)head + (size_t)size;
}

static void add_header(const char *header) {
    size_t used = strlen(options.headers);
    if (used + strlen(header) + 3 > sizeof options.headers) die("headers are longer than %d bytes", MAX_HEADERS);
    sprintf(options.headers + used, "%s\r\n", header);
}

static const struct option OPTIONS[] = {
    {"port", required_argument, 0, 'p'},      {"path", required_argument, 0, 'u'},    {"body", required_argument, 0, 'b'},
    {"header", required_argument, 0, 'H'},    {"connections", required_argument, 0, 'c'}, {"requests", required_argument, 0, 'n'},
    {"duration", required_argument, 0, 'd'},  {"think-ms", required_argument, 0, 't'}, {"ramp-ms", required_argument, 0, 'r'},
    {"events", required_argument, 0, 'e'},    {"hold", no_argument, 0, 'k'},          {"terminal", required_argument, 0, 'T'},
    {"content", required_argument, 0, 'C'},   {0, 0, 0, 0}};

static const char USAGE[] =
    "usage: load --port N --body FILE [--path /v1/chat/completions] [--header 'Name: value']... [--connections N]\n"
    "            [--requests TOTAL | --duration SECONDS | --hold] [--think-ms N] [--ramp-ms N] [--events PER_STREAM]\n"
    "            [--terminal TEXT] [--content TEXT]\n";

static void parse_options(int argc, char **argv) {
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) switch (option) {
        case 'p': options.port = (uint16_t)atoi(optarg); break;
        case 'u': options.path = optarg; break;
        case 'b': options.body_file = optarg; break;
        case 'H': add_header(optarg); break;
        case 'c': options.connections = (unsigned)atoi(optarg); break;
        case 'n': options.requests = strtoul(optarg, NULL, 10); break;
        case 'd': options.duration_s = atof(optarg); break;
        case 't': options.think_ms = (unsigned)atoi(optarg); break;
        case 'r': options.ramp_ms = (unsigned)atoi(optarg); break;
        case 'e': options.events = (unsigned)atoi(optarg); break;
        case 'k': options.hold = true; break;
        case 'T': options.dialect.terminal = optarg; break;
        case 'C': options.dialect.content = optarg; break;
        default: fputs(USAGE, stderr); exit(2);
        }
    if (!options.port || !options.body_file || !options.connections) {
        fputs(USAGE, stderr);
        exit(2);
    }
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    build_request();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint64_t start = now_ns();
    run();
    print_results((double)(now_ns() - start) / 1e9);
    return results.all_errors ? 1 : 0;
}
