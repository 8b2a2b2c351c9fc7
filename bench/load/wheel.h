/* Timer wheel of one-millisecond slots: adding, removing and expiring cost the same for 1 or 10,000 timers.
 *
 * A timer lies in slot (due tick mod WHEEL_SLOTS); one due in a later turn stays there until its turn comes.
 * Put a Timer first in the struct it belongs to and cast back. */
#ifndef BENCH_WHEEL_H
#define BENCH_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_SLOTS = 4096 }; /* four seconds a turn: longer than any pace we use */

typedef struct Timer {
    struct Timer *next, *prev; /* NULL when not in the wheel */
    uint64_t tick;
} Timer;

typedef struct Wheel {
    Timer slots[WHEEL_SLOTS]; /* heads of circular lists */
    Timer soon;               /* added for the next turn of the event loop */
    Timer ready;              /* expired, not yet popped */
    uint64_t tick;            /* the last millisecond handled */
    unsigned count;
} Wheel;

void wheel_init(Wheel *wheel, uint64_t now);
void wheel_add(Wheel *wheel, Timer *timer, uint64_t due);
void wheel_add_soon(Wheel *wheel, Timer *timer); /* due at the next wheel_advance, whatever the time */
void wheel_remove(Wheel *wheel, Timer *timer); /* does nothing when the timer is not in the wheel */

/* Move everything due at `now` to the ready list; pop it one by one (NULL when empty). */
void wheel_advance(Wheel *wheel, uint64_t now);
Timer *wheel_pop(Wheel *wheel);

/* What to give epoll_wait: milliseconds to the next timer (never late, at most early), -1 for none. */
int wheel_timeout_ms(const Wheel *wheel, uint64_t now);

#endif
