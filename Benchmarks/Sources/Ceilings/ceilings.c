#include "ceilings.h"

#if defined(__x86_64__)
#include <immintrin.h>

// As many sums as hide the latency, and registers hold.
enum { SUMS = 12 };

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))

// The compiler may not see that nothing changes from round to round.
#define OPAQUE(x) __asm__ volatile("" : "+v"(x))

#define CEILING(name, target, type, init, step, done)                     \
  static target double name(size_t count) {                               \
    type sums[SUMS], a = init, b = init;                                  \
    OPAQUE(a);                                                            \
    OPAQUE(b);                                                            \
    for (int i = 0; i < SUMS; i++) sums[i] = init;                        \
    for (size_t n = 0; n < count; n++) {                                  \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < SUMS; i++) { \
        sums[i] = step;                                                   \
        OPAQUE(sums[i]);                                                  \
      }                                                                   \
    }                                                                     \
    return (double)count * SUMS * (done);                                 \
  }

CEILING(fp32_avx2, AVX2, __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(a, b, sums[i]), 16)
CEILING(int16_avx2, AVX2, __m256i, _mm256_setzero_si256(),
        _mm256_add_epi32(_mm256_madd_epi16(a, sums[i]), b), 32)
CEILING(int8_avx2, AVX2, __m256i, _mm256_setzero_si256(),
        _mm256_add_epi16(_mm256_maddubs_epi16(a, sums[i]), b), 64)
CEILING(fp32_avx512, AVX512, __m512, _mm512_setzero_ps(), _mm512_fmadd_ps(a, b, sums[i]), 32)
CEILING(int16_avx512, AVX512, __m512i, _mm512_setzero_si512(), _mm512_dpwssd_epi32(sums[i], a, b),
        64)
CEILING(int8_avx512, AVX512, __m512i, _mm512_setzero_si512(), _mm512_dpbusd_epi32(sums[i], a, b),
        128)

static int has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int has_avx512(void) {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
}

#define CHOICE(name)                                               \
  double ceiling_##name(int is_avx512, size_t count) {             \
    if (is_avx512) return has_avx512() ? name##_avx512(count) : 0; \
    return has_avx2() ? name##_avx2(count) : 0;                    \
  }
#else
#define CHOICE(name)                                   \
  double ceiling_##name(int is_avx512, size_t count) { \
    (void)is_avx512, (void)count;                      \
    return 0;                                          \
  }
#endif

CHOICE(fp32)
CHOICE(int16)
CHOICE(int8)
