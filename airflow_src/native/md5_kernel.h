/* MD5 of LANES independent streams: one stream in each 32-bit element of GROUPS vectors of WIDTH elements.
 *
 * Included by md5_lanes.c once for each instruction set, with KERNEL (name of the function), WIDTH, GROUPS and TARGET
 * (attribute, may be empty) defined. Two groups side by side hide the latency of MD5's chain of steps.
 */
#define LANES (WIDTH * GROUPS)
#define GLUE_(a, b) a##b
#define GLUE(a, b) GLUE_(a, b)
#define VECTOR GLUE(KERNEL, _vector)
#define UNALIGNED GLUE(KERNEL, _unaligned)
#define TRANSPOSE GLUE(KERNEL, _transpose)

typedef uint32_t VECTOR __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t UNALIGNED __attribute__((vector_size(4 * WIDTH), aligned(1), may_alias));

/* Message word w of all lanes of a group into words[w]: rows of memory become columns of registers. */
TARGET static inline __attribute__((always_inline)) void TRANSPOSE(const uint8_t *const *data, size_t offset,
                                                                   VECTOR *words)
{
#if WIDTH == 4
    for (int q = 0; q < 4; q++) {
        VECTOR r[4], t[4];
        for (int i = 0; i < 4; i++) r[i] = *(const UNALIGNED *)(data[i] + offset + 16 * q);
        t[0] = SHUFFLE(VECTOR, r[0], r[1], 0, 4, 1, 5);
        t[1] = SHUFFLE(VECTOR, r[0], r[1], 2, 6, 3, 7);
        t[2] = SHUFFLE(VECTOR, r[2], r[3], 0, 4, 1, 5);
        t[3] = SHUFFLE(VECTOR, r[2], r[3], 2, 6, 3, 7);
        words[4 * q + 0] = SHUFFLE(VECTOR, t[0], t[2], 0, 1, 4, 5);
        words[4 * q + 1] = SHUFFLE(VECTOR, t[0], t[2], 2, 3, 6, 7);
        words[4 * q + 2] = SHUFFLE(VECTOR, t[1], t[3], 0, 1, 4, 5);
        words[4 * q + 3] = SHUFFLE(VECTOR, t[1], t[3], 2, 3, 6, 7);
    }
#elif WIDTH == 8
    for (int h = 0; h < 2; h++) {
        VECTOR r[8], t[8];
        for (int i = 0; i < 8; i++) r[i] = *(const UNALIGNED *)(data[i] + offset + 32 * h);
        for (int i = 0; i < 8; i += 2) {
            t[i] = SHUFFLE(VECTOR, r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
            t[i + 1] = SHUFFLE(VECTOR, r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
        }
        for (int i = 0; i < 8; i += 4)
            for (int j = 0; j < 2; j++) {
                r[i + j] = SHUFFLE(VECTOR, t[i + j], t[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
                r[i + j + 2] = SHUFFLE(VECTOR, t[i + j], t[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
            }
        for (int j = 0; j < 4; j++) {
            words[8 * h + j] = SHUFFLE(VECTOR, r[j], r[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
            words[8 * h + j + 4] = SHUFFLE(VECTOR, r[j], r[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        }
    }
#else
    VECTOR r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = *(const UNALIGNED *)(data[i] + offset);
    for (int i = 0; i < 16; i += 2) {
        t[i] = SHUFFLE(VECTOR, r[i], r[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
        t[i + 1] = SHUFFLE(VECTOR, r[i], r[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + j] = SHUFFLE(VECTOR, t[i + j], t[i + j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            r[i + j + 2] =
                SHUFFLE(VECTOR, t[i + j], t[i + j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
        }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            t[i + j] = SHUFFLE(VECTOR, r[i + j], r[i + j + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
            t[i + j + 4] =
                SHUFFLE(VECTOR, r[i + j], r[i + j + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
        }
    for (int j = 0; j < 8; j++) {
        words[j] = SHUFFLE(VECTOR, t[j], t[j + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        words[j + 8] = SHUFFLE(VECTOR, t[j], t[j + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
#endif
}

/* state: word a of all lanes, then b, c, d. data: one pointer for each lane, each with `blocks` blocks of 64 bytes. */
TARGET static void KERNEL(uint32_t *state, const uint8_t *const *data, size_t blocks)
{
    VECTOR a[GROUPS], b[GROUPS], c[GROUPS], d[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        a[g] = *(UNALIGNED *)(state + g * WIDTH);
        b[g] = *(UNALIGNED *)(state + LANES + g * WIDTH);
        c[g] = *(UNALIGNED *)(state + 2 * LANES + g * WIDTH);
        d[g] = *(UNALIGNED *)(state + 3 * LANES + g * WIDTH);
    }
    /* Hides where the constants are from the compiler, which would else put each into a general register and spread it
     * from there: spread by the load, the whole takes a tenth less time. */
    const uint32_t *constants = md5_constants;
    __asm__("" : "+r"(constants));
    for (size_t block = 0; block < blocks; block++) {
        VECTOR words[GROUPS][16], a0[GROUPS], b0[GROUPS], c0[GROUPS], d0[GROUPS];
        for (int g = 0; g < GROUPS; g++) {
            TRANSPOSE(data + g * WIDTH, 64 * block, words[g]);
            a0[g] = a[g], b0[g] = b[g], c0[g] = c[g], d0[g] = d[g];
        }
#define STEP(f, w, x, y, z, word, constant, shift)                                  \
    for (int g = 0; g < GROUPS; g++) {                                              \
        w[g] += words[g][word] + constants[constant]; /* does not wait for x */       \
        w[g] = w[g] + f(x[g], y[g], z[g]);                                          \
        w[g] = x[g] + ((w[g] << (shift)) | (w[g] >> (32 - (shift))));               \
    }
        MD5_STEPS(STEP, a, b, c, d)
#undef STEP
        for (int g = 0; g < GROUPS; g++) a[g] += a0[g], b[g] += b0[g], c[g] += c0[g], d[g] += d0[g];
    }
    for (int g = 0; g < GROUPS; g++) {
        *(UNALIGNED *)(state + g * WIDTH) = a[g];
        *(UNALIGNED *)(state + LANES + g * WIDTH) = b[g];
        *(UNALIGNED *)(state + 2 * LANES + g * WIDTH) = c[g];
        *(UNALIGNED *)(state + 3 * LANES + g * WIDTH) = d[g];
    }
}

#undef LANES
#undef GLUE_
#undef GLUE
#undef VECTOR
#undef UNALIGNED
#undef TRANSPOSE
#undef KERNEL
#undef WIDTH
#undef GROUPS
#undef TARGET
