// Products of matrices that are no weights: low-rank factors, attention scores and their gradients.
// The tiles of `matmul` do the work; here operands of any strides are brought to where they read
// them.
#pragma once

// 4 columns of LANES rows, at rows[i], to out + column * stride: a vector a column.
INLINE void transpose_4(const float *const rows[LANES], float *out, size_t stride) {
  const uint8_t *bytes[LANES];
#pragma clang loop unroll(full)
  for (int i = 0; i < LANES; i++) bytes[i] = (const uint8_t *)rows[i];
  word columns[4];
  load_words(bytes, columns);
#pragma clang loop unroll(full)
  for (size_t j = 0; j < 4; j++) memcpy(out + j * stride, &columns[j], sizeof columns[j]);
}

// out[c * stride + r] = in[r * ld + c] for r < rows, c < columns.
static void transpose(const float *in, size_t ld, size_t rows, size_t columns, float *out,
                      size_t stride) {
  size_t r = 0, whole = columns / 4 * 4;
  for (; r + LANES <= rows; r += LANES) {
    for (size_t c = 0; c < whole; c += 4) {
      const float *from[LANES];
      for (size_t i = 0; i < LANES; i++) from[i] = in + (r + i) * ld + c;
      transpose_4(from, out + c * stride + r, stride);
    }
    for (size_t c = whole; c < columns; c++) {
      for (size_t i = 0; i < LANES; i++) out[c * stride + r + i] = in[(r + i) * ld + c];
    }
  }
  for (; r < rows; r++) {
    for (size_t c = 0; c < columns; c++) out[c * stride + r] = in[r * ld + c];
  }
}

// A slice of A, its rows SLICE apart, times alpha.
static void slice_of_a(const quant_gemm *p, size_t m, size_t height, size_t k, size_t depth,
                       float *out) {
  const float *a = p->a + m * p->a_row + k * p->a_column;
  if (p->a_row == 1) {
    transpose(a, p->a_column, depth, height, out, SLICE);
  } else {
    copy_slice(a, p->a_row, height, depth, out);
  }
  if (p->alpha == 1) return;
  for (size_t i = 0; i < height; i++) {
    float *row = out + i * SLICE;
    for (size_t j = 0; j < depth; j++) row[j] *= p->alpha;
  }
}

// P[k][PANEL]: the columns n ..< n + columns of B's rows, and zeros: what the scratch held before
// may be integers, which read as floats are denormal, and each of those would cost the processor an
// assist.
static void panel_of_b(const quant_gemm *p, size_t n, size_t columns, size_t k, size_t depth,
                       float *panel) {
  const float *b = p->b + k * p->b_row + n * p->b_column;
  if (columns < PANEL) memset(panel, 0, depth * PANEL * sizeof *panel);
  if (p->b_column == 1) {
    for (size_t r = 0; r < depth; r++) {
      memcpy(panel + r * PANEL, b + r * p->b_row, columns * sizeof *b);
    }
  } else {
    transpose(b, p->b_column, columns, depth, panel, PANEL);
  }
}

static void gemm(const quant_gemm *p, float *scratch) {
  float *panel = scratch + PASS * SLICE;
  if (p->K == 0 && !p->accumulate) {
    for (size_t m = 0; m < p->M; m++) memset(p->c + m * p->ldc, 0, p->N * sizeof *p->c);
  }
  for (size_t k = 0; k < p->K; k += SLICE) {
    size_t depth = smaller(SLICE, p->K - k);
    for (size_t m = 0; m < p->M; m += PASS) {
      size_t height = smaller(PASS, p->M - m);
      slice_of_a(p, m, height, k, depth, scratch);
      for (size_t n = 0; n < p->N; n += PANEL) {
        size_t columns = smaller(PANEL, p->N - n);
        panel_of_b(p, n, columns, k, depth, panel);
        multiply_panel(scratch, height, panel, depth, p->c + m * p->ldc + n, p->ldc, columns,
                       k > 0 || p->accumulate);
      }
    }
  }
}
