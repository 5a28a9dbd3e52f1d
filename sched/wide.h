/* Inner loops in wide vectors where the processor has them. */
#pragma once

/* The compiler makes one version a width and the loader picks; sanitizers don't bear the resolver.
 * Functions that are marked must have one result whatever the width: fixed lanes, no reassociation. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define BERTH_WIDE __attribute__((optimize("O3"), target_clones("avx2", "default")))
#else
#define BERTH_WIDE
#endif
