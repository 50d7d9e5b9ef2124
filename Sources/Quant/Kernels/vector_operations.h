// The operations on vectors of floats: sums, softmax, activations, norms and rotations.
#pragma once

#include "vector_kernels.h"

static float dot(const float *x, const float *y, size_t n) {
  // Eight sums: a fused multiply-add takes four cycles, and two start in each.
  enum { SUMS = 8 };
  vec sum[SUMS];
#pragma clang loop unroll(full)
  for (int j = 0; j < SUMS; j++) sum[j] = v_zero();
  size_t i = 0;
  for (; i + SUMS * LANES <= n; i += SUMS * LANES) {
#pragma clang loop unroll(full)
    for (int j = 0; j < SUMS; j++) {
      sum[j] = v_fma(v_load(x + i + j * LANES), v_load(y + i + j * LANES), sum[j]);
    }
  }
  for (; i + LANES <= n; i += LANES) sum[0] = v_fma(v_load(x + i), v_load(y + i), sum[0]);
  if (i < n) {
    sum[1] = v_fma(v_load_partial(x + i, n - i), v_load_partial(y + i, n - i), sum[1]);
  }
#pragma clang loop unroll(full)
  for (int width = SUMS / 2; width > 0; width /= 2) {
#pragma clang loop unroll(full)
    for (int j = 0; j < width; j++) sum[j] = v_add(sum[j], sum[j + width]);
  }
  return v_sum(sum[0]);
}

// Runs `body` with `i`, the index of LANES elements, and LOAD and STORE of them; the last may be
// fewer.
#define FOR_EACH_VECTOR(n, body)           \
  do {                                     \
    size_t i = 0;                          \
    for (; i + LANES <= (n); i += LANES) { \
      body(v_load, v_store)                \
    }                                      \
    if (i < (n)) {                         \
      size_t rest = (n)-i;                 \
      body(LOAD_REST, STORE_REST)          \
    }                                      \
  } while (0)
#define LOAD_REST(p) v_load_partial(p, rest)
#define STORE_REST(p, v) v_store_partial(p, rest, v)

static void axpy(float a, const float *x, size_t n, float *y) {
  vec scale = v_set(a);
#define BODY(load, store) store(y + i, v_fma(scale, load(x + i), load(y + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void scale(float a, size_t n, float *x) {
  vec factor = v_set(a);
#define BODY(load, store) store(x + i, v_mul(factor, load(x + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static float softmax(float *x, size_t n, float scale) {
  vec s = v_set(scale), largest = v_set(-INFINITY);
  size_t whole = n - n % LANES;
  for (size_t i = 0; i < whole; i += LANES) largest = v_max(largest, v_mul(s, v_load(x + i)));
  float top = v_maximum(largest);
  for (size_t i = whole; i < n; i++) top = fmaxf(top, scale * x[i]);

  vec shift = v_set(-top), sums = v_zero();
  // The lanes past the end are zeros, and would add exp(-top).
  float tail = 0;
#define BODY(load, store)                             \
  vec e = v_exp(v_add(v_mul(s, load(x + i)), shift)); \
  store(x + i, e);                                    \
  if (i < whole) sums = v_add(sums, e);
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  for (size_t i = whole; i < n; i++) tail += x[i];
  float sum = v_sum(sums) + tail;

  vec reciprocal = v_set(1 / sum);
#define BODY(load, store) store(x + i, v_mul(load(x + i), reciprocal));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  return top + logf(sum);
}

// 1 / (1 + exp(-x))
INLINE vec v_sigmoid(vec x) { return v_div(v_set(1), v_add(v_set(1), v_exp(v_mul(v_set(-1), x)))); }

// cap tanh(x): 1 - 2 / (1 + exp(2 x)), which cancels near 0 to within 2⁻²³ of the cap.
INLINE vec v_capped(vec x, float cap) {
  vec e = v_exp(v_add(x, x));
  return v_fma(v_set(-2 * cap), v_div(v_set(1), v_add(v_set(1), e)), v_set(cap));
}

static void soft_cap(float *x, size_t n, float scale, float cap) {
  vec factor = v_set(scale / cap);
#define BODY(load, store) store(x + i, v_capped(v_mul(factor, load(x + i)), cap));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void soft_cap_backward(const float *y, size_t n, float scale, float cap, float *dy) {
  vec a = v_set(scale), b = v_set(-scale / (cap * cap));
#define BODY(load, store)   \
  vec capped = load(y + i); \
  store(dy + i, v_mul(load(dy + i), v_fma(v_mul(b, capped), capped, a)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void swiglu(const float *gate, const float *up, size_t n, float *h) {
#define BODY(load, store) \
  vec g = load(gate + i); \
  store(h + i, v_mul(v_mul(g, v_sigmoid(g)), load(up + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void swiglu_backward(const float *gate, const float *up, const float *dh, size_t n,
                            float *dgate, float *dup) {
  vec one = v_set(1), minus = v_set(-1);
  // silu'(g) = sigmoid(g) (1 + g (1 - sigmoid(g)))
#define BODY(load, store)                                                             \
  vec g = load(gate + i), u = load(up + i), d = load(dh + i), sigmoid = v_sigmoid(g); \
  vec slope = v_mul(sigmoid, v_fma(g, v_fma(minus, sigmoid, one), one));              \
  store(dgate + i, v_mul(v_mul(d, u), slope));                                        \
  store(dup + i, v_mul(d, v_mul(g, sigmoid)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

// (1 + tanh(a (x + b x³))) / 2, a = sqrt(2 / π), is the sigmoid of twice the argument.
static const float gelu_slope = 2 * 0.7978845608f, gelu_cube = 2 * 0.7978845608f * 0.044715f;
INLINE vec v_gelu_share(vec x) {
  return v_sigmoid(v_mul(x, v_fma(v_mul(v_set(gelu_cube), x), x, v_set(gelu_slope))));
}

static void geglu(const float *gate, const float *up, size_t n, float *h) {
#define BODY(load, store) \
  vec g = load(gate + i); \
  store(h + i, v_mul(v_mul(g, v_gelu_share(g)), load(up + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void geglu_backward(const float *gate, const float *up, const float *dh, size_t n,
                           float *dgate, float *dup) {
  vec one = v_set(1), minus = v_set(-1);
  // With gelu(g) = g s, s = sigmoid(z): gelu'(g) = s (1 + g (1 - s) z'(g)).
#define BODY(load, store)                                                              \
  vec g = load(gate + i), u = load(up + i), d = load(dh + i), share = v_gelu_share(g); \
  vec inner = v_fma(v_mul(v_set(3 * gelu_cube), g), g, v_set(gelu_slope));             \
  vec slope = v_mul(share, v_fma(v_mul(g, inner), v_fma(minus, share, one), one));     \
  store(dgate + i, v_mul(v_mul(d, u), slope));                                         \
  store(dup + i, v_mul(d, v_mul(g, share)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static float rmsnorm(const float *x, const float *weight, size_t n, float epsilon, float *y) {
  float scale = 1 / sqrtf(dot(x, x, n) / (float)n + epsilon);
  vec s = v_set(scale);
#define BODY(load, store) store(y + i, v_mul(v_mul(load(x + i), s), load(weight + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  return scale;
}

static void softmax_backward(const float *p, size_t n, float scale, float *dp) {
  vec factor = v_set(scale), shift = v_set(-scale * dot(p, dp, n));
#define BODY(load, store) store(dp + i, v_mul(load(p + i), v_fma(factor, load(dp + i), shift)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void rmsnorm_backward(const float *dy, const float *x, const float *weight, size_t n,
                             float inverse_rms, float *dx) {
  vec sum = v_zero();
#define BODY(load, store) sum = v_fma(v_mul(load(dy + i), load(weight + i)), load(x + i), sum);
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  float mean = v_sum(sum) / (float)n;
  vec a = v_set(inverse_rms), b = v_set(-inverse_rms * inverse_rms * inverse_rms * mean);
#define BODY(load, store)                                                    \
  vec total = v_fma(a, v_mul(load(dy + i), load(weight + i)), load(dx + i)); \
  store(dx + i, v_fma(b, load(x + i), total));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

// 1 - Φ(|x|) and exp(-x² / 2): erfc(z) = (a₁ t + … + a₅ t⁵) exp(-z²), t = 1 / (1 + p z), is off by
// 1.5e-7 at most, two units of fp32's last place at 1 (Abramowitz and Stegun, 7.1.26).
typedef struct {
  vec tail, bell;
} normal;

INLINE normal v_normal(vec x) {
  vec t = v_div(v_set(1), v_fma(v_abs(x), v_set(0.3275911f * 0x1.6a09e6p-1f), v_set(1)));
  vec p = v_set(0.5f * 1.061405429f);
  p = v_fma(p, t, v_set(0.5f * -1.453152027f));
  p = v_fma(p, t, v_set(0.5f * 1.421413741f));
  p = v_fma(p, t, v_set(0.5f * -0.284496736f));
  p = v_fma(p, t, v_set(0.5f * 0.254829592f));
  vec bell = v_exp(v_mul(v_set(-0.5f), v_mul(x, x)));
  return (normal){v_mul(v_mul(p, t), bell), bell};
}

static void gelu(const float *x, size_t n, float *h) {
  // x Φ(x) = max(x, 0) - |x| (1 - Φ(|x|)) on either side of 0.
#define BODY(load, store) \
  vec v = load(x + i);    \
  store(h + i, v_fma(v_mul(v_set(-1), v_abs(v)), v_normal(v).tail, v_max(v, v_zero())));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void gelu_backward(const float *x, size_t n, float *dh) {
  vec minus = v_set(-1), peak = v_set(0x1.988454p-2f);
  // Φ(x) = 1/2 + sign(x) (1/2 - (1 - Φ(|x|))); the sign is x in floats' smallest steps, cut at ±1.
#define BODY(load, store)                                                 \
  vec v = load(x + i);                                                    \
  normal at = v_normal(v);                                                \
  vec negative = v_max(v_mul(v, v_set(-0x1p126f)), minus);                \
  vec sign = v_max(v_mul(negative, minus), minus);                        \
  vec phi = v_fma(sign, v_fma(minus, at.tail, v_set(0.5f)), v_set(0.5f)); \
  store(dh + i, v_mul(load(dh + i), v_fma(v_mul(v, peak), at.bell, phi)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void layernorm(const float *x, const float *weight, const float *bias, size_t n,
                      float epsilon, float *y, float *mean, float *rho) {
  // The lanes past the end would count as zeros: the last few elements are summed one by one.
  size_t whole = n - n % LANES;
  vec sums = v_zero(), squares = v_zero();
  for (size_t i = 0; i < whole; i += LANES) sums = v_add(sums, v_load(x + i));
  float sum = v_sum(sums);
  for (size_t i = whole; i < n; i++) sum += x[i];
  float middle = sum / (float)n;
  vec shift = v_set(-middle);
  for (size_t i = 0; i < whole; i += LANES) {
    vec centred = v_add(v_load(x + i), shift);
    squares = v_fma(centred, centred, squares);
  }
  float square = v_sum(squares);
  for (size_t i = whole; i < n; i++) square += (x[i] - middle) * (x[i] - middle);
  float scale = 1 / sqrtf(square / (float)n + epsilon);
  vec s = v_set(scale);
#define BODY(load, store)                           \
  vec normed = v_mul(v_add(load(x + i), shift), s); \
  store(y + i, v_fma(normed, load(weight + i), load(bias + i)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  *mean = middle;
  *rho = scale;
}

static void layernorm_backward(const float *x, const float *weight, size_t n, float mean, float rho,
                               float *dy) {
  vec s = v_set(rho), shift = v_set(-mean), sums = v_zero(), products = v_zero();
  // Lanes past the end have a gradient of zero.
#define BODY(load, store)                        \
  vec g = v_mul(load(dy + i), load(weight + i)); \
  sums = v_add(sums, g);                         \
  products = v_fma(g, v_mul(v_add(load(x + i), shift), s), products);
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
  vec a = v_set(-v_sum(sums) / (float)n), b = v_set(-v_sum(products) / (float)n);
#define BODY(load, store)                           \
  vec normed = v_mul(v_add(load(x + i), shift), s); \
  vec g = v_fma(load(dy + i), load(weight + i), a); \
  store(dy + i, v_mul(s, v_fma(normed, b, g)));
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}

static void rotate(const float *cosine, const float *sine, size_t half, float sign, float *x) {
  vec plus = v_set(sign), minus = v_set(-sign);
  float *y = x + half;
#define BODY(load, store)                                                         \
  vec a = load(x + i), b = load(y + i), c = load(cosine + i), s = load(sine + i); \
  store(x + i, v_fma(v_mul(minus, s), b, v_mul(a, c)));                           \
  store(y + i, v_fma(v_mul(plus, s), a, v_mul(b, c)));
  FOR_EACH_VECTOR(half, BODY);
#undef BODY
}

// LANES 32-bit integers, for which the compiler's own operators do on every instruction set.
typedef uint32_t integers __attribute__((vector_size(4 * LANES)));

static void dropout(const float *x, size_t n, uint64_t key, uint32_t threshold, float scale,
                    int accumulate, float *y) {
  vec factor = v_set(scale);
  integers counter;
  for (uint32_t j = 0; j < LANES; j++) counter[j] = j * 0x9e3779b9u + (uint32_t)key;
  uint32_t high = (uint32_t)(key >> 32);
#define BODY(load, store)                                         \
  integers bits = (counter ^ counter >> 16) * 0x7feb352du ^ high; \
  bits = (bits ^ bits >> 15) * 0x846ca68bu;                       \
  integers keeps = (integers)(bits >= threshold);                 \
  vec kept = (vec)((integers)v_mul(factor, load(x + i)) & keeps); \
  store(y + i, accumulate ? v_add(load(y + i), kept) : kept);     \
  counter += LANES * 0x9e3779b9u;
  FOR_EACH_VECTOR(n, BODY);
#undef BODY
}
