// Products of matrices that are no weights: low-rank factors, attention scores and their gradients.
// The tiles of `matmul` do the work; here operands of any strides are brought to where they read
// them.
#pragma once

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

// P[k][width]: the columns n ..< n + columns of B's rows, and zeros: what the scratch held before
// may be integers, which read as floats are denormal, and each of those would cost the processor an
// assist.
static void panel_of_b(const quant_gemm *p, size_t n, size_t columns, size_t k, size_t depth,
                       float *panel, size_t width) {
  const float *b = p->b + k * p->b_row + n * p->b_column;
  if (p->b_column == 1) {
    for (size_t r = 0; r < depth; r++, b += p->b_row, panel += width) {
      for (size_t c = 0; c < width; c += LANES) {
        vec part = columns >= c + LANES ? v_load(b + c)
                   : columns > c        ? v_load_partial(b + c, columns - c)
                                        : v_zero();
        v_store(panel + c, part);
      }
    }
  } else {
    if (columns < width) memset(panel, 0, depth * width * sizeof *panel);
    transpose(b, p->b_column, columns, depth, panel, width);
  }
}

// A product whose rows are read once, for all of C's columns are one panel: A is not worth a copy.
static void gemm_in_place(const quant_gemm *p, float *panel) {
  size_t width = p->N <= LANES ? LANES : PANEL;
  for (size_t k = 0; k < p->K; k += SLICE) {
    size_t depth = smaller(SLICE, p->K - k);
    panel_of_b(p, 0, p->N, k, depth, panel, width);
    tile_arguments t = {p->a + k, p->a_row, panel, depth,
                        p->c,     p->ldc,   p->N,  k > 0 || p->accumulate};
    if (width == LANES) {
      multiply_heights(tiles_narrow, p->M, t);
    } else {
      multiply_heights(tiles_in_place, p->M, t);
    }
  }
}

static void gemm(const quant_gemm *p, float *scratch) {
  float *panel = scratch + PASS * SLICE;
  if (p->K == 0 && !p->accumulate) {
    for (size_t m = 0; m < p->M; m++) memset(p->c + m * p->ldc, 0, p->N * sizeof *p->c);
  }
  if (p->N <= PANEL && p->a_column == 1 && p->alpha == 1) {
    gemm_in_place(p, panel);
    return;
  }
  for (size_t k = 0; k < p->K; k += SLICE) {
    size_t depth = smaller(SLICE, p->K - k);
    for (size_t m = 0; m < p->M; m += PASS) {
      size_t height = smaller(PASS, p->M - m);
      slice_of_a(p, m, height, k, depth, scratch);
      for (size_t n = 0; n < p->N; n += PANEL) {
        size_t columns = smaller(PANEL, p->N - n);
        panel_of_b(p, n, columns, k, depth, panel, PANEL);
        multiply_panel(scratch, height, panel, depth, p->c + m * p->ldc + n, p->ldc, columns,
                       k > 0 || p->accumulate);
      }
    }
  }
}
