
/* GET /api/payments and /api/payments/status/{status}: newest first. */

#include "ngx_opay_payment.h"

#include "opay_list.h"


static void ngx_opay_payment_list_status(opay_call_t *call,
    ngx_opay_payment_filter_t *f);
static opay_str_t ngx_opay_payment_list_scope(opay_call_t *call,
    const ngx_opay_payment_filter_t *f);


/*
 * A user's list is of the user's own payments; an ADMIN's is of all, unless
 * userId says of whom.
 */

void
ngx_opay_payment_list_decode(opay_call_t *call)
{
    ngx_opay_payment_filter_t      *f;
    const ngx_opay_payment_conf_t  *conf;

    conf = call->conf;

    f = opay_arena_zalloc(call->arena, sizeof(ngx_opay_payment_filter_t));
    if (f == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    call->cmd = f;

    ngx_opay_payment_list_status(call, f);
    opay_list_user(call, &f->has_user, &f->user);

    f->scope = ngx_opay_payment_list_scope(call, f);

    (void) opay_page_parse(call, conf->cursor_key, f->scope, &f->page);
}


static void
ngx_opay_payment_list_status(opay_call_t *call, ngx_opay_payment_filter_t *f)
{
    opay_str_t  name;

    name = opay_list_status(call);

    if (name.data == NULL) {
        return;
    }

    f->status = opay_payment_status_parse(name);

    if (f->status == OPAY_PAYMENT_NONE) {
        opay_call_invalid(call, "/status", "enum",
                          "must be PENDING, PROCESSING, SUCCESS, FAILED, "
                          "CANCELLED, REFUND_PENDING or REFUNDED");
    }
}


/* A cursor is good for the list that it was made in, and for its reader. */

static opay_str_t
ngx_opay_payment_list_scope(opay_call_t *call,
    const ngx_opay_payment_filter_t *f)
{
    char  who[OPAY_UUID_TEXT + 1], user[OPAY_UUID_TEXT + 1];

    return opay_arena_printf(call->arena, "payments|%s|%s|%d",
                             opay_uuid_format(&call->who.user, who),
                             f->has_user ? opay_uuid_format(&f->user, user)
                                         : "*",
                             (int) f->status);
}


opay_db_rc_t
ngx_opay_payment_list(opay_db_t *db, opay_call_t **calls, size_t n)
{
    int                             more;
    size_t                          i, count;
    opay_jw_t                       w;
    opay_str_t                      body;
    opay_call_t                    *call;
    opay_db_rc_t                    rc;
    ngx_opay_payment_t             *list, *last;
    ngx_opay_payment_filter_t      *f;
    const ngx_opay_payment_conf_t  *conf;

    (void) n;

    call = calls[0];
    f = call->cmd;
    conf = call->conf;

    rc = ngx_opay_payment_store_list(db, call->arena, f, &list, &count);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    more = (count > (size_t) f->page.limit);
    count -= more;

    opay_jw_init(&w, call->arena, 256 + count * 896);
    opay_jw_obj(&w);
    opay_jw_key(&w, "content");
    opay_jw_arr(&w);

    for (i = 0; i < count; i++) {
        ngx_opay_payment_json(&w, &list[i]);
    }

    opay_jw_arr_end(&w);

    last = count ? &list[count - 1] : NULL;

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
