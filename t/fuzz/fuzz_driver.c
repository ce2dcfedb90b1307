/*
 * Runs a LLVMFuzzerTestOneInput() where libFuzzer is not installed:
 *
 *   fuzz_x <seconds> <seed> <corpus file>...
 *
 * Takes the corpus files, mutates them with a seeded generator and stops at
 * the first abort or sanitizer report.  Same seed and count, same inputs.
 * 0 seconds: each file once, as it is.  Inputs come in memory of exactly
 * their size, so that the sanitizer sees a byte read too far.
 * With clang's libFuzzer leave this file out.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "opay_base.h"


#define FUZZ_MAX  4096


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static uint64_t  fuzz_state;


static uint32_t
fuzz_random(uint32_t n)
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;

    return (uint32_t) (fuzz_state >> 16) % n;
}


static size_t
fuzz_mutate(uint8_t *buf, size_t len)
{
    size_t  at, n;

    if (len == 0) {
        buf[0] = (uint8_t) fuzz_random(256);
        return 1;
    }

    at = fuzz_random((uint32_t) len);

    switch (fuzz_random(6)) {
    case 0:
        buf[at] ^= (uint8_t) (1u << fuzz_random(8));
        return len;
    case 1:
        buf[at] = (uint8_t) fuzz_random(256);
        return len;
    case 2:
        return at;
    case 3:
        n = 1 + fuzz_random((uint32_t) (len - at));
        memmove(buf + at, buf + at + n, len - at - n);
        return len - n;
    case 4:
        n = 1 + fuzz_random((uint32_t) (len - at));

        if (len + n > FUZZ_MAX) {
            return len;
        }

        memmove(buf + at + n, buf + at, len - at);
        return len + n;
    default:
        buf[at] = (uint8_t) "\"{}[]:,\\0-e.ntf"[fuzz_random(15)];
        return len;
    }
}


static void
fuzz_one(const uint8_t *data, size_t len)
{
    uint8_t  *copy;

    copy = malloc(len ? len : 1);
    if (copy == NULL) {
        abort();
    }

    memcpy(copy, data, len);
    (void) LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}


static size_t
fuzz_load(const char *path, uint8_t *seed)
{
    FILE    *f;
    size_t   len;

    f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(2);
    }

    len = fread(seed, 1, FUZZ_MAX, f);
    fclose(f);

    return len;
}


int
main(int argc, char **argv)
{
    int       seconds, n;
    size_t    len, seed_len;
    time_t    end;
    uint8_t   buf[FUZZ_MAX], seed[FUZZ_MAX];
    uint32_t  i;
    uint64_t  inputs;

    if (argc < 4) {
        fprintf(stderr, "usage: %s seconds seed file...\n", argv[0]);
        return 2;
    }

    seconds = atoi(argv[1]);
    fuzz_state = strtoull(argv[2], NULL, 10) * 2 + 1;
    end = time(NULL) + seconds;
    inputs = 0;

    for (n = 3; n < argc || time(NULL) < end; n++) {

        seed_len = fuzz_load(argv[3 + (n - 3) % (argc - 3)], seed);
        fuzz_one(seed, seed_len);
        inputs++;

        for (i = 0; seconds > 0 && i < 1000; i++) {
            memcpy(buf, seed, seed_len);
            len = seed_len;

            do {
                len = fuzz_mutate(buf, len);
            } while (fuzz_random(4));

            fuzz_one(buf, len);
            inputs++;
        }
    }

    printf("%llu inputs\n", (unsigned long long) inputs);

    return 0;
}
