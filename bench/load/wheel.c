#include "wheel.h"

#include <stddef.h>

static const uint64_t TICK_NS = 1000000;

static void make_empty(Timer *head) {
    head->next = head->prev = head;
}

static void insert(Timer *head, Timer *timer) {
    timer->prev = head->prev;
    timer->next = head;
    head->prev->next = timer;
    head->prev = timer;
}

static void unlink_timer(Timer *timer) {
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = timer->prev = NULL;
}

void wheel_init(Wheel *wheel, uint64_t now) {
    for (int i = 0; i < WHEEL_SLOTS; i++) make_empty(&wheel->slots[i]);
    make_empty(&wheel->soon);
    make_empty(&wheel->ready);
    wheel->tick = now / TICK_NS;
    wheel->count = 0;
}

void wheel_add(Wheel *wheel, Timer *timer, uint64_t due) {
    uint64_t tick = (due + TICK_NS - 1) / TICK_NS;
    timer->tick = tick > wheel->tick ? tick : wheel->tick + 1;
    insert(&wheel->slots[timer->tick % WHEEL_SLOTS], timer);
    wheel->count++;
}

void wheel_add_soon(Wheel *wheel, Timer *timer) {
    insert(&wheel->soon, timer);
    wheel->count++;
}

void wheel_remove(Wheel *wheel, Timer *timer) {
    if (!timer->next) return;
    unlink_timer(timer);
    wheel->count--;
}

static void make_ready(Wheel *wheel, Timer *timer) {
    unlink_timer(timer);
    insert(&wheel->ready, timer);
}

void wheel_advance(Wheel *wheel, uint64_t now) {
    while (wheel->soon.next != &wheel->soon) make_ready(wheel, wheel->soon.next);
    uint64_t target = now / TICK_NS;
    /* After a long stall one turn visits every slot; more turns would find nothing new. */
    uint64_t first = target - wheel->tick > WHEEL_SLOTS ? target - WHEEL_SLOTS + 1 : wheel->tick + 1;
    for (uint64_t tick = first; tick <= target; tick++) {
        Timer *head = &wheel->slots[tick % WHEEL_SLOTS];
        for (Timer *timer = head->next, *next; timer != head; timer = next) {
            next = timer->next;
            if (timer->tick <= target) make_ready(wheel, timer);
        }
    }
    if (target > wheel->tick) wheel->tick = target;
}

Timer *wheel_pop(Wheel *wheel) {
    Timer *timer = wheel->ready.next;
    if (timer == &wheel->ready) return NULL;
    wheel_remove(wheel, timer);
    return timer;
}

int wheel_timeout_ms(const Wheel *wheel, uint64_t now) {
    if (!wheel->count) return -1;
    if (wheel->soon.next != &wheel->soon) return 0;
    for (unsigned ahead = 1; ahead < WHEEL_SLOTS; ahead++) {
        const Timer *head = &wheel->slots[(wheel->tick + ahead) % WHEEL_SLOTS];
        if (head->next == head) continue;
        uint64_t due = (wheel->tick + ahead) * TICK_NS;
        return due <= now ? 0 : (int)((due - now + TICK_NS - 1) / TICK_NS);
    }
    return WHEEL_SLOTS;
}
