/*
 * src/core/prefetch.h
 *		Ask for a cache line before it is needed; a hint, never a read.
 */
#ifndef CDP_CORE_PREFETCH_H
#define CDP_CORE_PREFETCH_H

#if defined(__GNUC__) || defined(__clang__)
#define CDP_CORE_PREFETCH(address) __builtin_prefetch(address)
#else
#define CDP_CORE_PREFETCH(address) ((void) 0)
#endif

#endif /* CDP_CORE_PREFETCH_H */
