#include "ceilings.h"

#if defined(__x86_64__)
#include <immintrin.h>

// Independent sums. Two ports start a multiply-add each in every cycle and take 4 to 6 cycles, so
// 12 are needed at least; AVX2 has registers for no more beside the factors.
enum { SUMS_AVX2 = 12, SUMS_AVX512 = 16 };

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define AVX512BF16 __attribute__((target("avx512f,avx512bf16")))

// The compiler may not see that nothing changes from round to round.
#define OPAQUE(x) __asm__ volatile("" : "+v"(x))

#define CEILING(name, target, count_of_sums, type, init, step, done)               \
  static target double name(size_t count) {                                        \
    type sums[count_of_sums], a = init, b = init;                                  \
    OPAQUE(a);                                                                     \
    OPAQUE(b);                                                                     \
    for (int i = 0; i < count_of_sums; i++) sums[i] = init;                        \
    for (size_t n = 0; n < count; n++) {                                           \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < count_of_sums; i++) { \
        sums[i] = step;                                                            \
        OPAQUE(sums[i]);                                                           \
      }                                                                            \
    }                                                                              \
    return (double)count * count_of_sums * (done);                                 \
  }

#define CEILING_AVX2(name, ...) CEILING(name, AVX2, SUMS_AVX2, __VA_ARGS__)
#define CEILING_AVX512(name, ...) CEILING(name, AVX512, SUMS_AVX512, __VA_ARGS__)

CEILING_AVX2(fp32_avx2, __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(a, b, sums[i]), 16)
CEILING_AVX2(int16_avx2, __m256i, _mm256_setzero_si256(),
             _mm256_add_epi32(_mm256_madd_epi16(a, sums[i]), b), 32)
CEILING_AVX2(int8_avx2, __m256i, _mm256_setzero_si256(),
             _mm256_add_epi16(_mm256_maddubs_epi16(a, sums[i]), b), 64)
CEILING_AVX512(fp32_avx512, __m512, _mm512_setzero_ps(), _mm512_fmadd_ps(a, b, sums[i]), 32)
CEILING_AVX512(int16_avx512, __m512i, _mm512_setzero_si512(), _mm512_dpwssd_epi32(sums[i], a, b),
               64)
CEILING_AVX512(int8_avx512, __m512i, _mm512_setzero_si512(), _mm512_dpbusd_epi32(sums[i], a, b),
               128)
CEILING(bf16_avx512, AVX512BF16, SUMS_AVX512, __m512, _mm512_setzero_ps(),
        _mm512_dpbf16_ps(sums[i], (__m512bh)a, (__m512bh)b), 64)

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
double ceiling_bf16(int is_avx512, size_t count) {
  return is_avx512 && __builtin_cpu_supports("avx512bf16") ? bf16_avx512(count) : 0;
}
#else
double ceiling_bf16(int is_avx512, size_t count) { return (void)is_avx512, (void)count, 0; }
#define CHOICE(name)                                   \
  double ceiling_##name(int is_avx512, size_t count) { \
    (void)is_avx512, (void)count;                      \
    return 0;                                          \
  }
#endif

CHOICE(fp32)
CHOICE(int16)
CHOICE(int8)
