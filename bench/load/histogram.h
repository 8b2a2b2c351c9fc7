/* Log-linear histogram of durations: relative error below 1 %, constant memory, no sorting. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HIST_SUB_BITS = 7, /* 128 buckets for each power of two */
    HIST_SUB = 1 << HIST_SUB_BITS,
    HIST_BUCKETS = (64 - HIST_SUB_BITS + 1) * HIST_SUB,
};

typedef struct Histogram {
    uint64_t buckets[HIST_BUCKETS];
    uint64_t count, max;
} Histogram;

static inline unsigned hist_index(uint64_t ns) {
    if (ns < HIST_SUB) return (unsigned)ns;
    unsigned shift = (unsigned)(63 - __builtin_clzll(ns)) - HIST_SUB_BITS;
    return (shift + 1) * HIST_SUB + (unsigned)(ns >> shift) - HIST_SUB;
}

static inline void hist_add(Histogram *h, uint64_t ns) {
    h->buckets[hist_index(ns)]++;
    h->count++;
    if (ns > h->max) h->max = ns;
}

/* The smallest duration that at least `quantile` of the values do not exceed, in microseconds; 0 when empty. */
static inline double hist_quantile_us(const Histogram *h, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)h->count), seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (!h->buckets[i] || seen < wanted) continue;
        uint64_t low = i, width = 1;
        if (i >= HIST_SUB) {
            unsigned shift = i / HIST_SUB - 1;
            low = (uint64_t)(i % HIST_SUB + HIST_SUB) << shift;
            width = 1ull << shift;
        }
        return ((double)low + (double)width / 2) / 1000;
    }
    return 0;
}

#endif
