#include <cblas.h>

// Exported by OpenBLAS but not declared; builds without threads lack it.
extern int blas_thread_shutdown_(void) __attribute__((weak));

// Stops the threads that OpenBLAS started; they start again when more than one is asked for.
static inline void openblas_stop_threads(void) {
  if (blas_thread_shutdown_) blas_thread_shutdown_();
}
