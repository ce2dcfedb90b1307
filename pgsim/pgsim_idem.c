/*
 * DESIGN
 *
 * The idempotency keys whose first request is under way in this process.
 * What is done is in the ledger; what is here is lost with the process, and
 * rightly so: a request that had not committed did nothing.
 */

#include <stdlib.h>

#include "pgsim.h"


typedef struct pgsim_idem_key_s  pgsim_idem_key_t;

struct pgsim_idem_key_s {
    pgsim_idem_key_t  *next;
    char               scope[65];
};

struct pgsim_idem_s {
    pthread_mutex_t    lock;
    pgsim_idem_key_t  *keys;
};


pgsim_idem_t *
pgsim_idem_create(void)
{
    pgsim_idem_t  *t;

    t = calloc(1, sizeof(pgsim_idem_t));

    if (t) {
        pthread_mutex_init(&t->lock, NULL);
    }

    return t;
}


void
pgsim_idem_destroy(pgsim_idem_t *t)
{
    pgsim_idem_key_t  *k;

    while ((k = t->keys) != NULL) {
        t->keys = k->next;
        free(k);
    }

    pthread_mutex_destroy(&t->lock);
    free(t);
}


int
pgsim_idem_enter(pgsim_idem_t *t, const char *scope)
{
    int                rc;
    pgsim_idem_key_t  *k;

    pthread_mutex_lock(&t->lock);

    for (k = t->keys; k; k = k->next) {
        if (strcmp(k->scope, scope) == 0) {
            break;
        }
    }

    rc = (k == NULL);

    if (rc) {
        k = calloc(1, sizeof(pgsim_idem_key_t));

        if (k) {
            memcpy(k->scope, scope, strnlen(scope, sizeof(k->scope) - 1));
            k->next = t->keys;
            t->keys = k;

        } else {
            rc = OPAY_ERROR;
        }
    }

    pthread_mutex_unlock(&t->lock);

    return rc;
}


void
pgsim_idem_leave(pgsim_idem_t *t, const char *scope)
{
    pgsim_idem_key_t  *k, **p;

    pthread_mutex_lock(&t->lock);

    for (p = &t->keys; *p; p = &(*p)->next) {
        if (strcmp((*p)->scope, scope) == 0) {
            k = *p;
            *p = k->next;
            free(k);
            break;
        }
    }

    pthread_mutex_unlock(&t->lock);
}
