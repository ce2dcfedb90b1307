
/* GET /api/orders and /api/orders/status/{status}: newest first. */

#include "ngx_opay_order.h"


static void ngx_opay_order_list_status(opay_call_t *call,
    ngx_opay_order_filter_t *f);
static void ngx_opay_order_list_user(opay_call_t *call,
    ngx_opay_order_filter_t *f);
static unsigned ngx_opay_order_list_time(opay_call_t *call, const char *name,
    int64_t *ms);
static opay_str_t ngx_opay_order_list_scope(opay_call_t *call,
    const ngx_opay_order_filter_t *f);


/*
 * A user's list is of the user's own orders; an ADMIN's is of all, unless
 * userId says of whom.
 */

void
ngx_opay_order_list_decode(opay_call_t *call)
{
    ngx_opay_order_filter_t      *f;
    const ngx_opay_order_conf_t  *conf;

    conf = call->conf;

    f = opay_arena_zalloc(call->arena, sizeof(ngx_opay_order_filter_t));
    if (f == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    ngx_opay_order_list_status(call, f);
    ngx_opay_order_list_user(call, f);

    f->has_from = ngx_opay_order_list_time(call, "createdFrom", &f->from);
    f->has_to = ngx_opay_order_list_time(call, "createdTo", &f->to);

    f->scope = ngx_opay_order_list_scope(call, f);

    (void) opay_page_parse(call, conf->cursor_key, f->scope, &f->page);

    call->cmd = f;
}


opay_db_rc_t
ngx_opay_order_list(opay_db_t *db, opay_call_t **calls, size_t n)
{
    int                           more;
    size_t                        i, count;
    opay_jw_t                     w;
    opay_str_t                    body;
    opay_call_t                  *call;
    opay_db_rc_t                  rc;
    ngx_opay_order_t             *orders, *last;
    ngx_opay_order_filter_t      *f;
    const ngx_opay_order_conf_t  *conf;

    (void) n;

    call = calls[0];
    f = call->cmd;
    conf = call->conf;

    rc = ngx_opay_order_store_list(db, call->arena, f, &orders, &count);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    more = (count > (size_t) f->page.limit);
    count -= more;

    rc = ngx_opay_order_store_details(db, call->arena, orders, count);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    opay_jw_init(&w, call->arena, 256 + count * 1024);
    opay_jw_obj(&w);
    opay_jw_key(&w, "content");
    opay_jw_arr(&w);

    for (i = 0; i < count; i++) {
        ngx_opay_order_json(&w, &orders[i]);
    }

    opay_jw_arr_end(&w);

    last = count ? &orders[count - 1] : NULL;

    opay_page_end(&w, conf->cursor_key, f->scope, more,
                  last ? last->created : 0, last ? &last->id : NULL);
    opay_jw_obj_end(&w);

    body = opay_jw_result(&w);

    if (body.data == NULL) {
        return OPAY_DB_ERROR;
    }

    opay_call_reply(call, 200, body);

    return OPAY_DB_OK;
}


/* In the path, or as a filter; not both. */

static void
ngx_opay_order_list_status(opay_call_t *call, ngx_opay_order_filter_t *f)
{
    opay_str_t  name;

    name = opay_call_arg(call, "status");

    if (call->param[0].len) {

        if (name.data) {
            opay_call_invalid(call, "/status", "conflict",
                              "the path has the status already");
            return;
        }

        name = call->param[0];
    }

    if (name.data == NULL) {
        return;
    }

    f->status = opay_order_status_parse(name);

    if (f->status == OPAY_ORDER_NONE) {
        opay_call_invalid(call, "/status", "enum",
                          "must be CREATED, PENDING, PAID, COMPLETED, FAILED "
                          "or CANCELLED");
    }
}


static void
ngx_opay_order_list_user(opay_call_t *call, ngx_opay_order_filter_t *f)
{
    opay_str_t  user;

    user = opay_call_arg(call, "userId");

    f->has_user = 1;
    f->user = call->who.user;

    if (!(call->who.roles & OPAY_ROLE_BIT_ADMIN)) {

        if (user.data
            && (opay_uuid_parse(user, &f->user) != OPAY_OK
                || !opay_uuid_eq(&f->user, &call->who.user)))
        {
            opay_call_fail(call, OPAY_E_FORBIDDEN,
                           "The filter userId needs the role ADMIN.");
        }

        return;
    }

    if (user.data == NULL) {
        f->has_user = 0;
        return;
    }

    if (opay_uuid_parse(user, &f->user) != OPAY_OK) {
        opay_call_invalid(call, "/userId", "format", "must be a UUID");
    }
}


static unsigned
ngx_opay_order_list_time(opay_call_t *call, const char *name, int64_t *ms)
{
    opay_str_t  text, pointer;

    text = opay_call_arg(call, name);

    if (text.data == NULL) {
        return 0;
    }

    if (opay_time_parse(text, ms) == OPAY_OK) {
        return 1;
    }

    pointer = opay_arena_printf(call->arena, "/%s", name);

    opay_call_invalid(call, pointer.data ? pointer.data : "", "format",
                      "must be an RFC 3339 time");

    return 0;
}


/* A cursor is good for the list that it was made in, and for its reader. */

static opay_str_t
ngx_opay_order_list_scope(opay_call_t *call, const ngx_opay_order_filter_t *f)
{
    char  who[OPAY_UUID_TEXT + 1], user[OPAY_UUID_TEXT + 1];

    return opay_arena_printf(call->arena, "orders|%s|%s|%d|%d:%lld|%d:%lld",
                             opay_uuid_format(&call->who.user, who),
                             f->has_user ? opay_uuid_format(&f->user, user)
                                         : "*",
                             (int) f->status,
                             (int) f->has_from, (long long) f->from,
                             (int) f->has_to, (long long) f->to);
}
