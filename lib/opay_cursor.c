
/* See opay_cursor.h. */

#include <openssl/crypto.h>

#include "opay_b64.h"
#include "opay_cursor.h"


#define OPAY_CURSOR_VERSION  1
#define OPAY_CURSOR_PLAIN    25        /* version, created_at, id */
#define OPAY_CURSOR_MAC      16
#define OPAY_CURSOR_BYTES    (OPAY_CURSOR_PLAIN + OPAY_CURSOR_MAC)


/* The scope goes in as its hash, so that the signed text has one length. */

static int
opay_cursor_sign(opay_str_t key, opay_str_t scope, const uint8_t *plain,
    uint8_t *mac)
{
    uint8_t  text[OPAY_CURSOR_PLAIN + 32];

    memcpy(text, plain, OPAY_CURSOR_PLAIN);

    if (opay_sha256(scope.data, scope.len, text + OPAY_CURSOR_PLAIN)
        != OPAY_OK)
    {
        return OPAY_ERROR;
    }

    return opay_hmac_sha256(key.data, key.len, text, sizeof(text), mac);
}


int
opay_cursor_encode(opay_str_t key, opay_str_t scope, int64_t time,
    const opay_uuid_t *id, char *buf)
{
    int       i;
    uint8_t   b[OPAY_CURSOR_BYTES], mac[32];

    b[0] = OPAY_CURSOR_VERSION;

    for (i = 0; i < 8; i++) {
        b[1 + i] = (uint8_t) ((uint64_t) time >> (56 - 8 * i));
    }

    memcpy(b + 9, id->b, 16);

    if (opay_cursor_sign(key, scope, b, mac) != OPAY_OK) {
        buf[0] = '\0';
        return OPAY_ERROR;
    }

    memcpy(b + OPAY_CURSOR_PLAIN, mac, OPAY_CURSOR_MAC);

    (void) opay_b64url_encode(b, sizeof(b), buf);

    return OPAY_OK;
}


int
opay_cursor_decode(opay_str_t key, opay_str_t scope, opay_str_t text,
    int64_t *time, opay_uuid_t *id)
{
    int       i;
    size_t    n;
    uint8_t   b[OPAY_CURSOR_BYTES], mac[32];
    uint64_t  t;

    if (text.len != OPAY_CURSOR_TEXT
        || opay_b64url_decode(text, b, sizeof(b), &n) != OPAY_OK
        || n != sizeof(b) || b[0] != OPAY_CURSOR_VERSION
        || opay_cursor_sign(key, scope, b, mac) != OPAY_OK
        || CRYPTO_memcmp(b + OPAY_CURSOR_PLAIN, mac, OPAY_CURSOR_MAC) != 0)
    {
        return OPAY_ERROR;
    }

    for (t = 0, i = 0; i < 8; i++) {
        t = t << 8 | b[1 + i];
    }

    *time = (int64_t) t;
    memcpy(id->b, b + 9, 16);

    return OPAY_OK;
}


/*
 * The value of a numeric argument from min to max; absent: *v stays.
 * Returns 1 when it was there.
 */

static int
opay_page_number(opay_call_t *call, const char *name, int64_t min,
    int64_t max, int64_t *v)
{
    size_t       i;
    int64_t      n;
    opay_str_t   s, detail, pointer;

    s = opay_call_arg(call, name);

    if (s.data == NULL) {
        return 0;
    }

    for (n = 0, i = 0; i < s.len && i < 9; i++) {

        if (s.data[i] < '0' || s.data[i] > '9') {
            break;
        }

        n = n * 10 + (s.data[i] - '0');
    }

    if (s.len == 0 || i < s.len || n < min || n > max) {

        pointer = opay_arena_printf(call->arena, "/%s", name);
        detail = opay_arena_printf(call->arena,
                                   "must be an integer from %lld to %lld",
                                   (long long) min, (long long) max);

        opay_call_invalid(call, pointer.data ? pointer.data : "", "range",
                          detail.data ? detail.data : "");
        return 1;
    }

    *v = n;

    return 1;
}


static void
opay_page_sort(opay_call_t *call)
{
    opay_str_t  s;

    s = opay_call_arg(call, "sort");

    if (s.data == NULL || opay_str_is(s, "createdAt,desc")
        || opay_str_is(s, "createdAt,DESC"))
    {
        return;
    }

    opay_call_invalid(call, "/sort", "enum",
                      "must be createdAt,desc: newest first is the only "
                      "order there is");
}


static void
opay_page_after(opay_call_t *call, opay_str_t key, opay_str_t scope,
    opay_page_t *page)
{
    opay_str_t  s;

    s = opay_call_arg(call, "after");

    if (s.data == NULL) {
        return;
    }

    page->has_after = 1;

    if (opay_cursor_decode(key, scope, s, &page->after_time, &page->after_id)
        != OPAY_OK)
    {
        opay_call_invalid(call, "/after", "cursor",
                          "must be the \"next\" of an earlier page of this "
                          "very list");
    }
}


int
opay_page_parse(opay_call_t *call, opay_str_t key, opay_str_t scope,
    opay_page_t *page)
{
    int      limit, size, number;
    int64_t  n;

    memset(page, 0, sizeof(opay_page_t));

    page->limit = OPAY_PAGE_DEFAULT;
    n = 0;

    limit = opay_page_number(call, "limit", 1, OPAY_PAGE_MAX, &page->limit);
    size = opay_page_number(call, "size", 1, OPAY_PAGE_MAX, &page->limit);
    number = opay_page_number(call, "page", 0, OPAY_PAGE_DEPTH, &n);

    opay_page_after(call, key, scope, page);
    opay_page_sort(call);

    if (limit && size) {
        opay_call_invalid(call, "/size", "conflict",
                          "must not be there together with limit");
    }

    if (number && page->has_after) {
        opay_call_invalid(call, "/page", "conflict",
                          "must not be there together with after");
    }

    page->offset = n * page->limit;

    if (page->offset > OPAY_PAGE_DEPTH) {
        opay_call_invalid(call, "/page", "range",
                          "goes too deep: page times size is 10000 at most, "
                          "go on with after instead");
    }

    return call->status ? OPAY_ERROR : OPAY_OK;
}


void
opay_page_end(opay_jw_t *w, opay_str_t key, opay_str_t scope, int more,
    int64_t time, const opay_uuid_t *id)
{
    char  buf[OPAY_CURSOR_TEXT + 1];

    opay_jw_kbool(w, "hasMore", more);

    if (!more) {
        opay_jw_knull(w, "next");
        return;
    }

    if (opay_cursor_encode(key, scope, time, id, buf) != OPAY_OK) {
        w->failed = 1;
        return;
    }

    opay_jw_kcstr(w, "next", buf);
}
