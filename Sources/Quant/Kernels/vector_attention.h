// Attention over a cache of halves, made of the products of vector_kernels.h.
//
// Positions come in chunks, cut at multiples of CHUNK wherever a call begins. For each query and
// chunk
//
//   s[j] = (scale q)·k[j], summed in the order of dimensions, and capped where there is a cap
//   top' = max(top, s[j]),  w[j] = exp(s[j] - top'),  fade = exp(top - top')
//   sum = fade sum + Σ w[j],  o = fade o + Σ w[j] v[j], summed in the order of positions
//
// Both products are C = A P, A's rows being queries. Where there are many, the chunk's keys and
// values are converted to panels of floats first; a single position's queries, in decoding, take
// the halves as they are, each converted once, in a register. The arithmetic of an element is the
// same, so that neither way, nor the other queries of a call, change a bit of it.
#pragma once

#include "vector_kernels.h"

enum {
  // Positions: enough that rescaling the outputs costs little, and that a chunk's floats, at most
  // 256 KiB of keys and as much of values, stay in the second-level cache.
  CHUNK = 256,
  // Queries at a time: their scores are 64 KiB.
  QUERIES = 64,
  // Vectors that hold a block's positions, or as many columns of values.
  BLOCK_VECS = QUANT_KV_BLOCK / LANES
};

_Static_assert(QUANT_ATTEND_HEAD <= SLICE && CHUNK <= SLICE, "rows of A are SLICE apart");
_Static_assert(3 * QUERIES * SLICE + 2 * CHUNK * QUANT_ATTEND_HEAD <= QUANT_ATTEND_SCRATCH,
               "queries, scores, outputs and two kinds of panels fit");

// --- The cache ---

// The end of what lies in the page of position j, or `stop`.
INLINE size_t page_end(size_t j, size_t stop) {
  return smaller((j / QUANT_KV_PAGE + 1) * QUANT_KV_PAGE, stop);
}

// Bytes from the page of position j to the next one; 0 where that has no position before `stop`.
INLINE ptrdiff_t next_page(const quant_kv *kv, size_t j, size_t stop) {
  size_t page = j / QUANT_KV_PAGE;
  if ((page + 1) * QUANT_KV_PAGE >= stop) return 0;
  return (const char *)kv->pages[page + 1] - (const char *)kv->pages[page];
}

static void kv_write(const quant_kv *kv, const float *k, size_t ldk, const float *v, size_t ldv,
                     size_t position, size_t count) {
  size_t D = kv->head_size;
  uint16_t halves[QUANT_ATTEND_HEAD];
  for (size_t i = 0; i < count; i++) {
    size_t j = position + i;
    saturated_f16_from_f32(v + i * ldv, kv->kv_heads * D, quant_value(kv, 0, j));
    for (size_t h = 0; h < kv->kv_heads; h++) {
      saturated_f16_from_f32(k + i * ldk + h * D, D, halves);
      uint16_t *key = quant_key(kv, h, j);
      for (size_t d = 0; d < D; d++) key[d * QUANT_KV_BLOCK] = halves[d];
    }
  }
}

// --- Products with halves ---

// P[rows][16 * groups]: the 16 halves of row r and group g are at
// first + r * row_stride + g * group_stride. `ahead` bytes further is what will be wanted next.
typedef struct {
  const uint16_t *first;
  size_t rows, row_stride, groups, group_stride;
  ptrdiff_t ahead;
  int accumulate;
} halves;

// C[height][16 * width] (+)= A[height][rows] P[rows][group ..< group + width]
INLINE void halves_tile(int height, int width, const float *a, const halves *p, size_t group,
                        float *c) {
  vec sum[TILE_ROWS][TILE_ROWS * TILE_VECS];
#pragma clang loop unroll(full)
  for (int i = 0; i < height; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < width * BLOCK_VECS; j++) {
      sum[i][j] = p->accumulate ? v_load(c + i * SLICE + (int)group * QUANT_KV_BLOCK + j * LANES)
                                : v_zero();
    }
  }
  const uint16_t *row = p->first + group * p->group_stride;
  size_t rows = p->rows, row_stride = p->row_stride, group_stride = p->group_stride;
  ptrdiff_t ahead = p->ahead;
  for (size_t r = 0; r < rows; r++, row += row_stride) {
#pragma clang loop unroll(full)
    for (int j = 0; j < width * BLOCK_VECS; j++) {
      const uint16_t *part = row + (size_t)(j / BLOCK_VECS) * group_stride;
      if (j % BLOCK_VECS == 0) __builtin_prefetch((const char *)part + ahead, 0, 2);
      vec x = f32_of_f16(v16_load(part + j % BLOCK_VECS * LANES));
#pragma clang loop unroll(full)
      for (int i = 0; i < height; i++) sum[i][j] = v_fma(v_set(a[i * SLICE + r]), x, sum[i][j]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < height; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < width * BLOCK_VECS; j++) {
      v_store(c + i * SLICE + (int)group * QUANT_KV_BLOCK + j * LANES, sum[i][j]);
    }
  }
}

// As many groups as there are registers for the sums, but 8 at most.
#define FITS(height, width) ((height) * (width) <= TILE_ROWS * TILE_VECS / BLOCK_VECS)
#define WIDTH(height) (FITS(height, 8) ? 8 : FITS(height, 4) ? 4 : FITS(height, 2) ? 2 : 1)
// A page's keys, or a head's values, are often 4 groups.
#define PAGE_WIDTH(height) (FITS(height, 4) ? 4 : WIDTH(height))

// One function a height, as with `tile`.
#define HALVES_PRODUCT(n)                                                                  \
  static void halves_product_##n(const float *a, const halves *p, float *c) {              \
    size_t g = 0;                                                                          \
    for (; g + WIDTH(n) <= p->groups; g += WIDTH(n)) halves_tile(n, WIDTH(n), a, p, g, c); \
    for (; g + PAGE_WIDTH(n) <= p->groups; g += PAGE_WIDTH(n)) {                           \
      halves_tile(n, PAGE_WIDTH(n), a, p, g, c);                                           \
    }                                                                                      \
    for (; g < p->groups; g++) halves_tile(n, 1, a, p, g, c);                              \
  }
HALVES_PRODUCT(1)
HALVES_PRODUCT(2)
HALVES_PRODUCT(3)
HALVES_PRODUCT(4)
HALVES_PRODUCT(5)
HALVES_PRODUCT(6)
#if TILE_ROWS == 8
HALVES_PRODUCT(7)
HALVES_PRODUCT(8)
#endif
static void (*const halves_products[TILE_ROWS])(const float *, const halves *, float *) = {
    halves_product_1, halves_product_2, halves_product_3,
    halves_product_4, halves_product_5, halves_product_6,
#if TILE_ROWS == 8
    halves_product_7, halves_product_8,
#endif
};
#undef HALVES_PRODUCT
#undef PAGE_WIDTH
#undef WIDTH
#undef FITS

// C[M] (+)= A[M] P, the rows of A and of C SLICE apart.
static void multiply_halves(const float *a, size_t M, const halves *p, float *c) {
  size_t count = (M + TILE_ROWS - 1) / TILE_ROWS;
  for (size_t t = 0; t < count; t++) {
    size_t m = M * t / count, height = M * (t + 1) / count - m;
    halves_products[height - 1](a + m * SLICE, p, c + m * SLICE);
  }
}

// --- Panels ---

// P[d][PANEL] of each PANEL positions from `first` on, which is the first of a block; lanes past
// the last block do not matter.
static void panels_of_keys(const quant_kv *kv, size_t head, size_t first, size_t stop,
                           float *panels) {
  size_t D = kv->head_size;
  for (size_t j = first; j < stop; j += QUANT_KV_BLOCK) {
    const uint16_t *block = quant_key(kv, head, j);
    float *out = panels + (j - first) / PANEL * PANEL * D + (j - first) % PANEL;
    for (size_t d = 0; d < D; d++) {
#pragma clang loop unroll(full)
      for (size_t i = 0; i < QUANT_KV_BLOCK; i += LANES) {
        v_store(out + d * PANEL + i, f32_of_f16(v16_load(block + d * QUANT_KV_BLOCK + i)));
      }
    }
  }
}

// P[stop - first][PANEL] of each PANEL columns; those past the last do not matter. Returns whether
// all values are finite.
static int panels_of_values(const quant_kv *kv, size_t head, size_t first, size_t stop,
                            float *panels) {
  size_t D = kv->head_size, depth = stop - first;
  vec zeros = v_zero();  // NaN once x * 0 is
  for (size_t j = first; j < stop; j++) {
    const uint16_t *row = quant_value(kv, head, j);
    size_t c = 0;
    for (; c + LANES <= D; c += LANES) {
      vec x = f32_of_f16(v16_load(row + c));
      zeros = v_fma(x, v_zero(), zeros);
      v_store(panels + (c / PANEL * depth + j - first) * PANEL + c % PANEL, x);
    }
    if (c < D) {
      uint16_t rest[LANES] = {0};
      memcpy(rest, row + c, (D - c) * sizeof *rest);
      vec x = f32_of_f16(v16_load(rest));
      zeros = v_fma(x, v_zero(), zeros);
      v_store(panels + (c / PANEL * depth + j - first) * PANEL + c % PANEL, x);
    }
  }
  return !v_any_nan(zeros);
}

// --- Attention ---

// The queries of a call, and what they see: query m is (m / group, m % group).
typedef struct {
  const quant_kv *kv;
  size_t head;
  const float *q;
  size_t ldq, group, past, end;
  const quant_scores *scores;
  float *o;
  size_t ldo;
  float *top, *sum;
} attention;

// A part of the positions, as halves or as panels.
typedef struct {
  size_t first, stop;
  const float *keys, *values;  // NULL: halves, of queries that see the same
  int finite;
} chunk;

// The position after the last that query m sees.
INLINE size_t seen_end(const attention *t, size_t m) {
  return smaller(t->end, t->past + m / t->group + 1);
}

// The first position in query m's window.
INLINE size_t seen_begin(const attention *t, size_t m) {
  size_t end = t->past + m / t->group + 1;
  return end > t->scores->window ? end - t->scores->window : 0;
}

// The query after the last of `queries` whose window begins before `stop`.
INLINE size_t window_end(const attention *t, size_t stop, size_t queries) {
  size_t window = t->scores->window, end = t->past + queries / t->group;
  if (end <= window || end - window < stop) return queries;
  size_t rows = stop + window - 1;
  return rows > t->past ? smaller((rows - t->past) * t->group, queries) : 0;
}

// The first query that sees position j.
INLINE size_t first_query(const attention *t, size_t j) {
  return j > t->past ? (j - t->past) * t->group : 0;
}

// S[count][chunk] = Q Kᵀ of queries from m on; those of queries before a panel's first need not be.
static void score_chunk(const attention *t, const chunk *part, size_t m, size_t count,
                        const float *q, float *s) {
  size_t D = t->kv->head_size;
  if (!part->keys) {
    for (size_t j = part->first, end; j < part->stop; j = end) {
      end = page_end(j, part->stop);
      halves keys = {.first = quant_key(t->kv, t->head, j),
                     .rows = D,
                     .row_stride = QUANT_KV_BLOCK,
                     .groups = (end - j + QUANT_KV_BLOCK - 1) / QUANT_KV_BLOCK,
                     .group_stride = QUANT_KV_BLOCK * t->kv->kv_heads * D,
                     .ahead = next_page(t->kv, j, t->end)};
      multiply_halves(q, count, &keys, s + (j - part->first));
    }
    return;
  }
  for (size_t j = part->first; j < part->stop; j += PANEL) {
    size_t seeing = first_query(t, j), skip = seeing > m ? seeing - m : 0, at = j - part->first;
    if (skip >= count) break;
    multiply_panel(q + skip * SLICE, count - skip, part->keys + at * D, D, s + skip * SLICE + at,
                   SLICE, PANEL, 0);
  }
}

// Added to the lanes of a last vector: 0 to those before the end, -infinity after it.
#define FOUR_TIMES(x) x, x, x, x
#define BLOCK_OF(x) FOUR_TIMES(FOUR_TIMES(x))
static const float past_the_end[2 * QUANT_KV_BLOCK] = {BLOCK_OF(0), BLOCK_OF(-INFINITY)};
#undef FOUR_TIMES
#undef BLOCK_OF

// Turns n scores into weights, and returns the factor for earlier ones; 0 follows up to `padded`.
static float weigh(float *s, size_t n, size_t padded, float *top, float *sum) {
  enum { MAXIMA = 4 };  // one would wait for its latency
  size_t whole = n - n % LANES, end = n == whole ? n : whole + LANES;
  if (whole < end) {
    // A whole vector is stored, for a load cannot be forwarded from several stores.
    vec rest = v_load_partial(s + whole, n - whole);
    v_store(s + whole, v_add(rest, v_load(past_the_end + QUANT_KV_BLOCK - (n - whole))));
  }
  float before = *top;
  vec largest[MAXIMA], sums = v_zero();
#pragma clang loop unroll(full)
  for (int i = 0; i < MAXIMA; i++) largest[i] = v_set(before);
  size_t j = 0;
  // Where a score is NaN, the second operand is the maximum.
  for (; j + MAXIMA * LANES <= end; j += MAXIMA * LANES) {
#pragma clang loop unroll(full)
    for (int i = 0; i < MAXIMA; i++) largest[i] = v_max(v_load(s + j + i * LANES), largest[i]);
  }
  for (; j < end; j += LANES) largest[0] = v_max(v_load(s + j), largest[0]);
  float after = v_maximum(v_max(v_max(largest[0], largest[1]), v_max(largest[2], largest[3])));
  vec shift = v_set(-after);
  for (j = 0; j < end; j += LANES) {
    vec weight = v_exp(v_add(v_load(s + j), shift));
    v_store(s + j, weight);
    sums = v_add(sums, weight);
  }
  for (; j < padded; j++) s[j] = 0;
  float fade = before == after ? 1 : expf(before - after);
  *top = after;
  *sum = *sum * fade + v_sum(sums);
  return fade;
}

// Where the window of query m begins in a chunk that it sees some of.
INLINE size_t window_start(const attention *t, const chunk *part, size_t m) {
  size_t begin = seen_begin(t, m);
  return begin > part->first ? begin - part->first : 0;
}

// O[count][head_size] = W V of queries from m on.
static void sum_values(const attention *t, const chunk *part, size_t m, size_t count,
                       const float *w, float *o) {
  size_t D = t->kv->head_size;
  if (!part->values) {
    // Those of one position, whose windows are one.
    size_t begin = part->first + window_start(t, part, m);
    for (size_t j = begin, end; j < part->stop; j = end) {
      end = page_end(j, part->stop);
      halves values = {.first = quant_value(t->kv, t->head, j),
                       .rows = end - j,
                       .row_stride = t->kv->kv_heads * D,
                       .groups = D / QUANT_KV_BLOCK,
                       .group_stride = QUANT_KV_BLOCK,
                       .ahead = next_page(t->kv, j, t->end),
                       .accumulate = j > begin};
      multiply_halves(w + (j - part->first), count, &values, o);
    }
    return;
  }
  size_t depth = part->stop - part->first;
  // What a query does not see has weight 0, which makes NaN of what is not finite.
  size_t step = part->finite ? 2 * TILE_ROWS : 1;
  for (size_t i = 0; i < count; i += step) {
    size_t height = smaller(step, count - i);
    size_t begin = part->finite ? 0 : window_start(t, part, m + i);
    size_t seen = smaller(part->stop, seen_end(t, m + i + height - 1)) - part->first;
    for (size_t c = 0; c < D; c += PANEL) {
      multiply_panel(w + i * SLICE + begin, height, part->values + c * depth + begin * PANEL,
                     seen - begin, o + i * SLICE + c, SLICE, PANEL, 0);
    }
  }
}

// Adds a chunk to the results of `count` queries from m on, which all see some of it.
static void attend_chunk(const attention *t, const chunk *part, size_t m, size_t count,
                         float *scratch) {
  size_t D = t->kv->head_size;
  float *q = scratch, *s = q + QUERIES * SLICE, *o = s + QUERIES * SLICE, fade[QUERIES];
  for (size_t i = 0; i < count; i++) {
    const float *from = t->q + (m + i) / t->group * t->ldq + (m + i) % t->group * D;
    for (size_t d = 0; d < D; d++) q[i * SLICE + d] = t->scores->scale * from[d];
  }
  score_chunk(t, part, m, count, q, s);
  for (size_t i = 0; i < count; i++) {
    float *row = s + i * SLICE;
    size_t begin = window_start(t, part, m + i);
    size_t seen = smaller(part->stop, seen_end(t, m + i)) - part->first;
    if (t->scores->cap > 0) soft_cap(row + begin, seen - begin, 1, t->scores->cap);
    // From a block's first position on, so that whole vectors stay within the row.
    size_t block = begin / QUANT_KV_BLOCK * QUANT_KV_BLOCK;
    for (size_t j = 0; j < block; j++) row[j] = 0;
    for (size_t j = block; j < begin; j++) row[j] = -INFINITY;
    fade[i] = weigh(row + block, seen - block, part->stop - part->first - block, t->top + m + i,
                    t->sum + m + i);
  }
  sum_values(t, part, m, count, s, o);
  for (size_t i = 0; i < count; i++) {
    float *out = t->o + (m + i) / t->group * t->ldo + (m + i) % t->group * D;
    for (size_t c = 0; c < D; c++) out[c] = out[c] * fade[i] + o[i * SLICE + c];
  }
}

static void attend(const quant_kv *kv, size_t head, const float *q, size_t ldq, size_t rows,
                   size_t group, size_t past, size_t begin, size_t end, const quant_scores *scores,
                   float *o, size_t ldo, float *top, float *sum, float *scratch) {
  attention t = {kv, head, q, ldq, group, past, end, scores, o, ldo, top, sum};
  size_t D = kv->head_size, queries = rows * group;
  for (size_t m = 0; m < queries; m++) {
    float *out = o + m / group * ldo + m % group * D;
    for (size_t c = 0; c < D; c++) out[c] = 0;
    top[m] = -INFINITY;
    sum[m] = 0;
  }
  int direct = rows == 1 && group <= 2 * TILE_ROWS && D % QUANT_KV_BLOCK == 0;
  float *keys = scratch + 3 * QUERIES * SLICE, *values = keys + CHUNK * QUANT_ATTEND_HEAD;
  size_t limit = smaller(end, past + rows);
  // From the block on in which the first window begins: no chunk is cut elsewhere for it.
  size_t seen = seen_begin(&t, 0) / QUANT_KV_BLOCK * QUANT_KV_BLOCK;
  for (size_t first = seen > begin ? seen : begin, stop; first < limit; first = stop) {
    stop = smaller(first / CHUNK * CHUNK + CHUNK, limit);
    chunk part = {first, stop, NULL, NULL, 1};
    if (!direct) {
      panels_of_keys(kv, head, first, stop, keys);
      part.finite = panels_of_values(kv, head, first, stop, values);
      part.keys = keys;
      part.values = values;
    }
    size_t count = window_end(&t, stop, queries);
    for (size_t m = first_query(&t, first); m < count; m += QUERIES) {
      attend_chunk(&t, &part, m, smaller(QUERIES, count - m), scratch);
    }
  }
}

static void attend_merge(size_t parts, size_t rows, size_t group, size_t head_size, const float *o,
                         size_t ldo, const float *top, const float *sum, float *out, size_t ldout) {
  for (size_t m = 0; m < rows * group; m++) {
    size_t i = m / group, first = m % group * head_size;
    float largest = -INFINITY, total = 0;
    for (size_t p = 0; p < parts; p++) largest = fmaxf(largest, top[p * rows * group + m]);
    for (size_t p = 0; p < parts; p++) {
      size_t part = p * rows * group + m;
      if (sum[part] != 0) total += expf(top[part] - largest) * sum[part];
    }
    for (size_t p = 0; p < parts; p++) {
      size_t part = p * rows * group + m;
      float weight = sum[part] == 0 ? 0 : expf(top[part] - largest) / total;
      const float *from = o + (p * rows + i) * ldo + first;
      float *to = out + i * ldout + first;
      for (size_t c = 0; c < head_size; c++) to[c] = (p ? to[c] : 0) + weight * from[c];
    }
  }
}
