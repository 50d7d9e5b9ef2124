// The functions of vectors: each against its definition in float64.
#include <math.h>
#include <string.h>

#include "check.h"

static int close_to(double got, double expected, double relative) {
  return fabs(got - expected) <= relative * fabs(expected) + 1e-37;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

void check_vectors(size_t n) {
  // A vector exp is within 2e-7, a division and three products within 2⁻²⁴ each.
  const double elementwise = 2e-7 + 4 * 0x1p-24;
  float *x = noise(n + 1), *y = noise(n + 1), *z = noise(n + 1), *before = copy(y, 4 * n + 4);
  double sum = 0, magnitude = 0, squares = 0, top = -INFINITY, exponentials = 0;
  for (size_t i = 0; i < n; i++) {
    sum += (double)x[i] * y[i];
    magnitude += fabs((double)x[i] * y[i]);
    squares += (double)x[i] * x[i];
    top = fmax(top, x[i]);
  }
  check(close_sums(tested->dot(x, y, n), (float)sum, n, magnitude), "dot", n, 0, 0);
  tested->axpy(0.37f, x, n, y);
  for (size_t i = 0; i < n; i++) {
    double bound = 0x1p-23 * (fabs(before[i]) + fabs(x[i]));
    check(fabs(y[i] - (before[i] + 0.37 * x[i])) <= bound, "axpy", n, i, 0);
  }
  check(y[n] == before[n], "axpy: border", n, 0, 0);
  float *scaled = copy(x, 4 * n + 4);
  tested->scale(0.37f, n, scaled);
  for (size_t i = 0; i < n; i++) check(scaled[i] == 0.37f * x[i], "scale", n, i, 0);
  check(scaled[n] == x[n], "scale: border", n, 0, 0);
  for (int add = 0; add < 2; add++) {
    float *kept = copy(y, 4 * n + 4), *expected = copy(y, 4 * n + 4);
    tested->dropout(x, n, 0x0123456789abcdef, 0x40000000, 4.0f / 3, add, kept);
    scalar->dropout(x, n, 0x0123456789abcdef, 0x40000000, 4.0f / 3, add, expected);
    check(!memcmp(kept, expected, 4 * n + 4), "dropout", n, (size_t)add, 0);
  }

  if (n > 0) {
    float *normal = memory(4 * n + 4), *soft = copy(x, 4 * n + 4);
    double scale = 1 / sqrt(squares / (double)n + 1e-5), tolerance = (double)(n + 4) * 0x1p-24;
    check(close_to(tested->rmsnorm(x, z, n, 1e-5f, normal), scale, tolerance), "rms", n, 0, 0);
    for (size_t i = 0; i < n; i++) exponentials += exp(0.125 * (x[i] - top));
    double log_sum = 0.125 * top + log(exponentials);
    float got = tested->softmax(soft, n, 0.125f);
    check(fabs(got - log_sum) <= 1e-6 * fmax(1, fabs(log_sum)), "softmax: sum", n, 0, 0);
    for (size_t i = 0; i < n; i++) {
      double expected = exp(0.125 * (x[i] - top)) / exponentials;
      check(close_to(soft[i], expected, 1e-6), "softmax", n, i, 0);
      check(close_to(normal[i], x[i] * scale * z[i], tolerance + 0x1p-22), "rmsnorm", n, i, 0);
    }
    check(soft[n] == x[n] && normal[n] == 0, "softmax, rmsnorm: border", n, 0, 0);

    float *ours = copy(y, 4 * n + 4), *theirs = copy(y, 4 * n + 4);
    tested->softmax_backward(soft, n, 0.125f, ours),
        scalar->softmax_backward(soft, n, 0.125f, theirs);
    for (size_t i = 0; i < n; i++) {
      // A dot product of n terms, below 1 each, in another order.
      double bound = soft[i] * (double)(n + 8) * 0x1p-23;
      check(fabs(ours[i] - theirs[i]) <= bound, "softmax_backward", n, i, 0);
    }
    tested->rmsnorm_backward(y, x, z, n, 0.7f, ours);
    scalar->rmsnorm_backward(y, x, z, n, 0.7f, theirs);
    for (size_t i = 0; i < n; i++) {
      check(fabs(ours[i] - theirs[i]) <= (double)(n + 8) * 0x1p-22, "rmsnorm_backward", n, i, 0);
    }
    check(ours[n] == y[n], "gradients: border", n, 0, 0);
    float *turned = copy(y, 4 * n + 4), *reference = copy(y, 4 * n + 4);
    tested->rotate(x, z, n / 2, -1, turned), scalar->rotate(x, z, n / 2, -1, reference);
    for (size_t i = 0; i <= n; i++) {
      check(fabs(turned[i] - reference[i]) <= 0x1p-21, "rotate", n, i, 0);
    }
  }

  float *capped = copy(x, 4 * n + 4), *dx = copy(z, 4 * n + 4);
  tested->soft_cap(capped, n, 3, 2);
  tested->soft_cap_backward(capped, n, 3, 2, dx);
  for (size_t i = 0; i < n; i++) {
    double t = tanh(1.5 * x[i]);
    // Near 0 the exponential cancels to within units in the last place of the cap.
    check(fabs(capped[i] - 2 * t) <= 2 * 4e-7, "soft_cap", n, i, 0);
    check(fabs(dx[i] - 3 * (1 - t * t) * z[i]) <= 3 * 2e-6 * fabs(z[i]), "soft_cap_backward", n, i,
          0);
  }
  check(capped[n] == x[n] && dx[n] == z[n], "soft_cap: border", n, 0, 0);

  float *gate = memory(4 * n + 4), *up = copy(y, 4 * n + 4), *h = memory(4 * n + 4);
  for (size_t i = 0; i < n; i++) gate[i] = 40 * x[i];
  float *g = copy(gate, 4 * n + 4);
  tested->swiglu(gate, up, n, h);
  tested->swiglu_backward(gate, up, z, n, gate, up);
  for (size_t i = 0; i < n; i++) {
    double s = sigmoid(g[i]), dh = z[i];
    check(close_to(h[i], g[i] * s * y[i], elementwise), "swiglu", n, i, 0);
    check(close_to(up[i], g[i] * s * dh, elementwise), "swiglu_backward: up", n, i, 0);
    // 1 - sigmoid loses digits near 1, and so does 1 + g (…) near its zero.
    double bound = 4e-7 * fabs(dh * y[i]) * (1 + fabs(g[i]));
    double slope = dh * y[i] * s * (1 + g[i] * (1 - s));
    check(fabs(gate[i] - slope) <= bound + 1e-37, "swiglu_backward: gate", n, i, 0);
  }
  check(h[n] == 0 && gate[n] == 0 && up[n] == y[n], "swiglu: border", n, 0, 0);

  gate = copy(x, 4 * n + 4), up = copy(y, 4 * n + 4), h = memory(4 * n + 4);
  tested->geglu(gate, up, n, h);
  tested->geglu_backward(gate, up, z, n, gate, up);
  for (size_t i = 0; i < n; i++) {
    double r = sqrt(2 / 3.14159265358979323846), v = x[i], dh = z[i];
    double t = tanh(r * (v + 0.044715 * v * v * v)), gelu = v * (1 + t) / 2;
    check(fabs(h[i] - gelu * y[i]) <= 1e-6 * fabs(v * y[i]), "geglu", n, i, 0);
    check(fabs(up[i] - gelu * dh) <= 1e-6 * fabs(v * dh), "geglu_backward: up", n, i, 0);
    double slope = (1 + t + v * (1 - t * t) * r * (1 + 3 * 0.044715 * v * v)) / 2;
    double bound = 2e-6 * fabs(dh * y[i]) * (1 + fabs(v));
    check(fabs(gate[i] - slope * dh * y[i]) <= bound, "geglu_backward: gate", n, i, 0);
  }
  check(h[n] == 0 && gate[n] == x[n] && up[n] == y[n], "geglu: border", n, 0, 0);
}

void check_extremes(void) {
  float gate[8] = {-200, 200, -INFINITY, NAN, 0, -0.0f, 104, -104}, up[8], h[8];
  for (int i = 0; i < 8; i++) up[i] = 1;
  tested->swiglu(gate, up, 8, h);
  check(fabsf(h[0]) < 1e-35f && h[1] == 200 && isnan(h[3]) && h[4] == 0 && h[6] == 104, "exp", 0, 0,
        0);
}

void check_norms(size_t n) {
  const double slope = 0.70710678118654752, peak = 0.39894228040143268;
  float *x = noise(n + 1), *h = copy(x, 4 * n + 4), *d = noise(n + 1), *dh = copy(d, 4 * n + 4);
  tested->gelu(h, n, h);
  tested->gelu_backward(x, n, dh);
  for (size_t i = 0; i < n; i++) {
    double v = x[i], phi = erfc(-v * slope) / 2;
    // erf's approximation is off by 1.5e-7, and what is made of it rounded a few times.
    check(fabs(h[i] - v * phi) <= 4e-7 * (1 + fabs(v)), "gelu", n, i, 0);
    double gradient = d[i] * (phi + v * peak * exp(-v * v / 2));
    check(fabs(dh[i] - gradient) <= 8e-7 * fabs(d[i]), "gelu_backward", n, i, 0);
  }
  check(h[n] == x[n] && dh[n] == d[n], "gelu: border", n, 0, 0);
  if (n == 0) return;

  float *weight = noise(n), *bias = noise(n), *y[2], *dy[2], mean[2], rho[2];
  for (int i = 0; i < 2; i++) {
    const quant_kernels *kernels = i ? tested : scalar;
    y[i] = copy(x, 4 * n + 4), dy[i] = copy(d, 4 * n + 4);
    kernels->layernorm(y[i], weight, bias, n, 1e-2f, y[i], &mean[i], &rho[i]);
    // Of the same statistics.
    kernels->layernorm_backward(x, weight, n, mean[0], rho[0], dy[i]);
  }
  // Two sums of n numbers below 2 in other orders, behind 1 / sqrt(var + epsilon) <= 10.
  double bound = (double)(n + 8) * 0x1p-22 * rho[0] * rho[0];
  check(fabs(mean[0] - mean[1]) <= (double)(n + 2) * 0x1p-22, "layernorm: mean", n, 0, 0);
  check(close_to(rho[1], rho[0], bound), "layernorm: rho", n, 0, 0);
  for (size_t i = 0; i < n; i++) {
    check(fabs(y[0][i] - y[1][i]) <= 8 * bound, "layernorm", n, i, 0);
    check(fabs(dy[0][i] - dy[1][i]) <= 64 * bound, "layernorm_backward", n, i, 0);
  }
  check(y[1][n] == x[n] && dy[1][n] == d[n], "layernorm: border", n, 0, 0);
}
