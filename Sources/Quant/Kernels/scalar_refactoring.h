// The definition of RefLoRA's algebra: plain loops. Included by scalar.c.
#pragma once

static float *element_of(const quant_factor *f, size_t i, size_t k) {
  return f->data + (f->is_tall ? k * f->rank + i : i * f->n + k);
}

static void factor_gram(const quant_factor *f, double *g, double *scratch) {
  (void)scratch;
  for (size_t i = 0; i < f->rank; i++) {
    for (size_t j = 0; j < f->rank; j++) {
      double sum = 0;
      for (size_t k = 0; k < f->n; k++) {
        sum += (double)*element_of(f, i, k) * *element_of(f, j, k);
      }
      g[i * f->rank + j] = sum;
    }
  }
}

static void factor_multiply(const double *m, const quant_factor *f, double *scratch) {
  size_t rank = f->rank;
  for (size_t k = 0; k < f->n; k++) {
    for (size_t j = 0; j < rank; j++) scratch[j] = *element_of(f, j, k);
    for (size_t i = 0; i < rank; i++) {
      double sum = 0;
      for (size_t j = 0; j < rank; j++) sum += m[i * rank + j] * scratch[j];
      *element_of(f, i, k) = (float)sum;
    }
  }
}

// Sweeping every pivot k once leaves -M⁻¹ (Goodnight 1979):
//
//   M[i,j] -= M[i,k] M[k,j] / p,  M[i,k] /= p,  M[k,k] = -1 / p  with p = M[k,k].
//
// Returns the logarithm of M's determinant; NaN where a pivot shows that M is not positive
// definite.
static double sweep(size_t rank, double *m, double *column) {
  double logarithm = 0;
  for (size_t k = 0; k < rank; k++) {
    double pivot = m[k * rank + k];
    if (!(pivot > 0 && pivot < INFINITY)) return NAN;
    logarithm += log(pivot);
    for (size_t i = 0; i < rank; i++) column[i] = m[i * rank + k];
    for (size_t i = 0; i < rank; i++) {
      for (size_t j = 0; j < rank; j++) {
        m[i * rank + j] = i == k && j == k ? -1 / pivot
                          : i == k         ? column[j] / pivot
                          : j == k         ? column[i] / pivot
                                           : m[i * rank + j] - column[i] * column[j] / pivot;
      }
    }
  }
  return logarithm;
}

static double trace(size_t rank, const double *m) {
  double sum = 0;
  for (size_t i = 0; i < rank; i++) sum += m[i * rank + i];
  return sum;
}

// M ← (μ M - (swept N) / μ) / 2; returns ‖change‖ / ‖M‖.
static double average(size_t rank, double *m, const double *swept, double mu) {
  double change = 0, norm = 0;
  for (size_t i = 0; i < rank * rank; i++) {
    double next = 0.5 * mu * m[i] - 0.5 / mu * swept[i];
    change += (next - m[i]) * (next - m[i]);
    norm += next * next;
    m[i] = next;
  }
  return sqrt(change / norm);
}

static int geometric_mean(size_t rank, double largest_condition, double *m, double *n,
                          double *scratch) {
  size_t size = rank * rank;
  double *swept_m = scratch, *swept_n = scratch + size, *column = scratch + 2 * size;
  double previous = INFINITY;
  // 8 to 10 iterations at condition 1e8; the bound only ends what does not converge.
  for (int iteration = 0; iteration < 60; iteration++) {
    memcpy(swept_m, m, size * sizeof *m);
    memcpy(swept_n, n, size * sizeof *n);
    double logarithm = sweep(rank, swept_m, column) + sweep(rank, swept_n, column);
    if (!isfinite(logarithm)) return 0;
    if (iteration == 0 && !(-trace(rank, m) * trace(rank, swept_m) < largest_condition &&
                            -trace(rank, n) * trace(rank, swept_n) < largest_condition)) {
      return 0;
    }
    double mu = exp(-logarithm / (double)(2 * rank));
    double change = average(rank, m, swept_n, mu);
    average(rank, n, swept_m, mu);
    if (!isfinite(change)) return 0;
    // Quadratic: after a change of 1e-9 the error is 1e-18. Ill-conditioned pairs stop shrinking
    // earlier, at their rounding error.
    if (change < 1e-9 || (change < 1e-3 && change > previous / 2)) return 1;
    previous = change;
  }
  return 0;
}

static unsigned geometric_means(size_t count, size_t rank, double largest_condition,
                                const double *x, const double *y, double *s, double *inverse,
                                double *scratch) {
  size_t size = rank * rank;
  memcpy(s, y, count * size * sizeof *s);
  memcpy(inverse, x, count * size * sizeof *inverse);
  unsigned found = 0;
  for (size_t p = 0; p < count; p++) {
    if (geometric_mean(rank, largest_condition, s + p * size, inverse + p * size, scratch)) {
      found |= 1u << p;
    }
  }
  return found;
}
