// What the checks share: the two tables, memory, numbers, and how close two sums are.
#pragma once

#include <stddef.h>

#include "quant_kernels.h"

// The definition, and the table that is compared with it.
extern const quant_kernels *scalar, *tested;

// Counts and prints what is not good: of which function, at which sizes.
void check(int good, const char *what, size_t a, size_t b, size_t c);

// Zeroed, 64-byte aligned, and freed by `release`.
void *memory(size_t bytes);
float *noise(size_t count);
void *copy(const void *x, size_t bytes);

// Two sums of the same n products in whatever order are each within n 2⁻²⁴ Σ|products| of the true
// one; each product and each slice's sum is rounded at most once more.
int close_sums(float a, float b, size_t n, double magnitude);

// Functions of n elements: the first those of decoders, the second what encoders have besides.
void check_vectors(size_t n);
void check_norms(size_t n);
// The first at numbers where exponentials end.
void check_extremes(void);
