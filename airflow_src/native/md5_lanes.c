/* MD5 (RFC 1321) of many streams at once: the kernels, and what sorts streams into their lanes.
 *
 * One stream is a chain of dependent steps, so a processor can only be filled with several. `md5_run_jobs` sorts its
 * streams by length, puts one into each lane of the kernel, runs until the shortest ends and gives its lane to the next.
 * What is left when too few are there to pay for the vectors goes through the scalar code.
 */
#include "md5_lanes.h"

#include <stdlib.h>
#include <string.h>

#if !defined(__GNUC__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "needs GCC or Clang, and a little-endian processor: the restore works with hashlib instead"
#endif

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(type, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(type, x, y, ...) __builtin_shuffle(x, y, (type){__VA_ARGS__})
#endif

/* Each step waits for the one before. Sums are in the order in which their terms are ready; GCC would sort them in another
 * one, which takes 10 to 20 % longer with AVX. */
#ifndef __clang__
#pragma GCC optimize("no-tree-reassoc")
#endif

#include "md5_steps.h"

enum { MOST_LANES = 16 };

/* --- kernels ------------------------------------------------------------------------------------------------------ */

#define KERNEL md5_base
#define WIDTH 4
#define GROUPS 2
#define TARGET
#include "md5_kernel.h"

#if defined(__x86_64__)
#define KERNEL md5_avx2
#define WIDTH 8
#define GROUPS 1
#define TARGET __attribute__((target("avx2")))
#include "md5_kernel.h"

#define KERNEL md5_avx2_wide
#define WIDTH 8
#define GROUPS 2
#define TARGET __attribute__((target("avx2")))
#include "md5_kernel.h"

#define KERNEL md5_avx512
#define WIDTH 16
#define GROUPS 1
#define TARGET __attribute__((target("avx512f")))
#include "md5_kernel.h"

/* Its rotation and its function of three operands shorten the chain of steps in narrow registers too. */
#define KERNEL md5_avx512_narrow
#define WIDTH 8
#define GROUPS 1
#define TARGET __attribute__((target("avx512f,avx512vl")))
#include "md5_kernel.h"
#endif

/* In scalar code a sum in two steps, of which only the second waits for x. */
#undef G
#define G(x, y, z) ((y) & ~(z)) + ((x) & (z))

static void md5_scalar(uint32_t *state, const uint8_t *data, size_t blocks)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (; blocks; blocks--, data += BLOCK) {
        uint32_t words[16], a0 = a, b0 = b, c0 = c, d0 = d;
        memcpy(words, data, BLOCK);
#define STEP(f, w, x, y, z, word, constant, shift) \
    w += words[word] + md5_constants[constant]; \
    w = w + f(x, y, z); \
    w = x + ((w << shift) | (w >> (32 - shift)));
        MD5_STEPS(STEP, a, b, c, d)
#undef STEP
        a += a0, b += b0, c += c0, d += d0;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = d;
}

typedef void Kernel(uint32_t *, const uint8_t *const *, size_t);

struct Set {
    const char *name;
    int lanes;
    int pays_from; /* streams; fewer are faster one after the other */
    Kernel *kernel;
    int narrow_lanes; /* up to so many streams, the kernel with fewer lanes is faster */
    Kernel *narrow;
};

static const Set SETS[] = {
    {"scalar", 1, 2, NULL, 0, NULL},
    {"base", 8, 4, md5_base, 0, NULL},
#if defined(__x86_64__)
    {"avx2", 16, 2, md5_avx2_wide, 8, md5_avx2},
    {"avx512", 16, 2, md5_avx512, 8, md5_avx512_narrow},
#endif
};
enum { SET_COUNT = sizeof SETS / sizeof *SETS };

int md5_set_count(void) { return SET_COUNT; }
const Set *md5_set(int number) { return &SETS[number]; }
const char *md5_set_name(const Set *set) { return set->name; }
int md5_set_lanes(const Set *set) { return set->lanes; }

int md5_can_run(const Set *set)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(set->name, "avx2")) return __builtin_cpu_supports("avx2") != 0;
    if (!strcmp(set->name, "avx512")) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#endif
    (void)set;
    return 1;
}

/* --- states ------------------------------------------------------------------------------------------------------- */

void md5_begin(Context *context)
{
    *context = (Context){.words = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

/* Takes `count` bytes into length and tail, all but the whole blocks in their middle: returns how many those are, and
 * moves `data` to the first. The caller runs them through a kernel. */
static size_t take(Context *context, const uint8_t **data, size_t count)
{
    if (!count) return 0;
    size_t there = context->length % BLOCK, head = there ? BLOCK - there : 0;
    if (head > count) head = count;
    context->length += count;
    if (head) {
        memcpy(context->tail + there, *data, head);
        if (there + head == BLOCK) md5_scalar(context->words, context->tail, 1);
        *data += head, count -= head;
    }
    if (!count) return 0;
    memcpy(context->tail, *data + count / BLOCK * BLOCK, count % BLOCK);
    return count / BLOCK;
}

void md5_feed(Context *context, const uint8_t *data, size_t count)
{
    size_t blocks = take(context, &data, count);
    if (blocks) md5_scalar(context->words, data, blocks);
}

void md5_finish(Context context, uint8_t *digest)
{
    uint64_t bits = context.length * 8; /* modulo 2^64, as RFC 1321 says */
    size_t there = context.length % BLOCK, zeros = (there < 56 ? 56 : 120) - there;
    uint8_t padding[BLOCK + 8] = {0x80};
    memcpy(padding + zeros, &bits, 8);
    md5_feed(&context, padding, zeros + 8);
    memcpy(digest, context.words, DIGEST);
}

/* --- many at once ------------------------------------------------------------------------------------------------- */

static int longest_first(const void *one, const void *other)
{
    size_t x = (*(Job *const *)one)->blocks, y = (*(Job *const *)other)->blocks;
    return (x < y) - (x > y);
}

static void run_scalar(Job *job)
{
    md5_scalar(job->context->words, job->next, job->blocks);
    job->next += job->blocks * BLOCK;
    job->blocks = 0;
}

static void run_lanes(const Set *set, Job **queue, size_t count)
{
    uint32_t words[4 * MOST_LANES];
    const uint8_t *data[MOST_LANES];
    Job *lane[MOST_LANES];
    int active = 0;
    size_t taken = 0;

    for (;;) {
        for (; active < set->lanes && taken < count; active++) lane[active] = queue[taken++];
        if (!active || (active < set->pays_from && taken == count)) break;
        int narrow = active <= set->narrow_lanes, lanes = narrow ? set->narrow_lanes : set->lanes;
        size_t blocks = lane[0]->blocks;
        for (int i = 1; i < active; i++)
            if (lane[i]->blocks < blocks) blocks = lane[i]->blocks;
        for (int i = 0; i < lanes; i++) {
            Job *job = lane[i < active ? i : 0]; /* an idle lane follows the first, and its result is dropped */
            data[i] = job->next;
            for (int w = 0; w < 4; w++) words[w * lanes + i] = job->context->words[w];
        }
        (narrow ? set->narrow : set->kernel)(words, data, blocks);
        int left = 0;
        for (int i = 0; i < active; i++) {
            Job *job = lane[i];
            for (int w = 0; w < 4; w++) job->context->words[w] = words[w * lanes + i];
            job->next += blocks * BLOCK;
            job->blocks -= blocks;
            if (job->blocks) lane[left++] = job;
        }
        active = left;
    }
    for (int i = 0; i < active; i++) run_scalar(lane[i]);
}

void md5_run_jobs(const Set *set, Job *jobs, Job **queue, size_t count)
{
    size_t queued = 0;
    for (Job *job = jobs; job < jobs + count; job++) {
        job->blocks = take(job->context, &job->next, job->count);
        if (job->blocks) queue[queued++] = job;
    }
    if (set->kernel && queued > 1) {
        qsort(queue, queued, sizeof *queue, longest_first);
        run_lanes(set, queue, queued);
    } else {
        for (size_t i = 0; i < queued; i++) run_scalar(queue[i]);
    }
}
