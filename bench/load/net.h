/* Sockets, clock and limits shared by the two tools. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stddef.h>
#include <stdint.h>

/* Monotonic time in nanoseconds. */
uint64_t now_ns(void);

/* Print a message (with errno when it is set) to stderr and exit with status 2. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Lift the soft limit of open files to the hard one: one stream is one or two descriptors. */
void raise_file_limit(void);

/* Non-blocking listener on 127.0.0.1; port 0 lets the kernel choose. Stores the port in *port. */
int listen_loopback(uint16_t *port);

/* Begin a non-blocking connect to 127.0.0.1:port. Returns the socket, or -1 with errno set. */
int connect_loopback(uint16_t port);

/* Send frames at once: a benchmark of delays must not measure Nagle's algorithm. */
void set_nodelay(int fd);

void *xmalloc(size_t size);
void *xrealloc(void *old, size_t size);

#endif
