
/*
 * DESIGN
 *
 * A list of entries, one per session that has a refresh under way, guarded by
 * one mutex that is held for a few comparisons.  An entry lives from the
 * moment the first request's body was complete until the last request's
 * memory is freed, that is, after its answer was sent; "overlapped" sticks
 * for as long.  A replay that begins after the answer was sent meets no entry
 * and is what it looks like: reuse.
 *
 * The table is per process.  With several workers or instances of auth set
 * opay_auth_refresh_grace, which judges by time instead.
 */

#include "ngx_opay_auth.h"


typedef struct ngx_opay_auth_flight_s  ngx_opay_auth_flight_t;

struct ngx_opay_auth_flight_s {
    opay_uuid_t              sid;
    unsigned                 refs;
    unsigned                 overlapped;
    ngx_opay_auth_flight_t  *next;
};


static void ngx_opay_auth_flight_leave(void *data);


static pthread_mutex_t          ngx_opay_auth_flight_mutex =
                                                  PTHREAD_MUTEX_INITIALIZER;
static ngx_opay_auth_flight_t  *ngx_opay_auth_flights;


int
ngx_opay_auth_flight_enter(opay_call_t *call, const opay_uuid_t *sid)
{
    ngx_opay_auth_flight_t  *f;

    (void) pthread_mutex_lock(&ngx_opay_auth_flight_mutex);

    for (f = ngx_opay_auth_flights; f; f = f->next) {
        if (opay_uuid_eq(&f->sid, sid)) {
            f->refs++;
            f->overlapped = 1;
            break;
        }
    }

    if (f == NULL) {
        f = malloc(sizeof(ngx_opay_auth_flight_t));

        if (f) {
            f->sid = *sid;
            f->refs = 1;
            f->overlapped = 0;
            f->next = ngx_opay_auth_flights;
            ngx_opay_auth_flights = f;
        }
    }

    (void) pthread_mutex_unlock(&ngx_opay_auth_flight_mutex);

    if (f == NULL) {
        return OPAY_ERROR;
    }

    if (opay_arena_cleanup(call->arena, ngx_opay_auth_flight_leave, f)
        != OPAY_OK)
    {
        ngx_opay_auth_flight_leave(f);
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


unsigned
ngx_opay_auth_flight_overlapped(const opay_uuid_t *sid)
{
    unsigned                 overlapped;
    ngx_opay_auth_flight_t  *f;

    overlapped = 0;

    (void) pthread_mutex_lock(&ngx_opay_auth_flight_mutex);

    for (f = ngx_opay_auth_flights; f; f = f->next) {
        if (opay_uuid_eq(&f->sid, sid)) {
            overlapped = f->overlapped;
            break;
        }
    }

    (void) pthread_mutex_unlock(&ngx_opay_auth_flight_mutex);

    return overlapped;
}


static void
ngx_opay_auth_flight_leave(void *data)
{
    ngx_opay_auth_flight_t *f = data;

    ngx_opay_auth_flight_t  **p;

    (void) pthread_mutex_lock(&ngx_opay_auth_flight_mutex);

    if (--f->refs == 0) {
        for (p = &ngx_opay_auth_flights; *p != f; p = &(*p)->next) {
            /* void */
        }

        *p = f->next;
        free(f);
    }

    (void) pthread_mutex_unlock(&ngx_opay_auth_flight_mutex);
}
