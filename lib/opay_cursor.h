
/*
 * opay_cursor: keyset paging, newest first, over (created_at, id).
 *
 * DESIGN
 *
 * A cursor is opaque to the client: base64url of version, created_at, id and
 * a truncated HMAC over these and a scope.  The scope is whatever one list
 * of one caller is ("orders|<user>|<filters>"), so that a cursor of another
 * user, list or filter is refused.  The key is 32 bytes, the same in every
 * instance of a service.
 *
 *   SELECT ... WHERE (has_after = 0 OR (created_at, id) < (?, ?))
 *   ORDER BY created_at DESC, id DESC LIMIT limit + 1 OFFSET offset
 */

#ifndef OPAY_CURSOR_H_INCLUDED
#define OPAY_CURSOR_H_INCLUDED

#include "opay_base.h"
#include "opay_call.h"
#include "opay_jsonw.h"


#define OPAY_CURSOR_TEXT    55         /* length, without NUL */

#define OPAY_PAGE_DEFAULT   20
#define OPAY_PAGE_MAX       100
#define OPAY_PAGE_DEPTH     10000      /* page * size at most */


typedef struct {
    int64_t      limit;                /* rows of the answer; select one more */
    int64_t      offset;               /* page * size, 0 with a cursor */
    unsigned     has_after;
    int64_t      after_time;           /* created_at of the last row seen */
    opay_uuid_t  after_id;
} opay_page_t;


/* buf holds OPAY_CURSOR_TEXT + 1 bytes.  OPAY_ERROR: OpenSSL failed. */
int opay_cursor_encode(opay_str_t key, opay_str_t scope, int64_t time,
    const opay_uuid_t *id, char *buf);

/* OPAY_ERROR: not a cursor of this key and scope. */
int opay_cursor_decode(opay_str_t key, opay_str_t scope, opay_str_t text,
    int64_t *time, opay_uuid_t *id);

/*
 * Query arguments limit, after, page, size and sort.  limit and size mean
 * the same and may not both be given, as after and page; only
 * sort=createdAt,desc is there.  Faults go on the call (400); OPAY_ERROR.
 */
int opay_page_parse(opay_call_t *call, opay_str_t key, opay_str_t scope,
    opay_page_t *page);

/*
 * Ends the answer of a list: `"hasMore":..,"next":..` after "content".
 * more: there was a row over the limit; time and id are of the last row that
 * is in the answer (id may be NULL when more is 0).
 */
void opay_page_end(opay_jw_t *w, opay_str_t key, opay_str_t scope, int more,
    int64_t time, const opay_uuid_t *id);


#endif /* OPAY_CURSOR_H_INCLUDED */
