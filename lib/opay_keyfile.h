
/*
 * opay_keyfile: symmetric keys as they stand in a file of secrets/.
 */

#ifndef OPAY_KEYFILE_H_INCLUDED
#define OPAY_KEYFILE_H_INCLUDED

#include "opay_base.h"


typedef struct {
    uint8_t  kid;                      /* 1 to 255 */
    uint8_t  key[32];
} opay_keyfile_t;


/*
 * One key per line: 64 hex digits, with an optional "<kid>:" before them
 * (1 without).  1 to max lines, kids distinct; empty lines at the end only.
 * The caller wipes file[].
 */
int opay_keyfile_parse(opay_str_t text, opay_keyfile_t *file, unsigned max,
    unsigned *n);


#endif /* OPAY_KEYFILE_H_INCLUDED */
