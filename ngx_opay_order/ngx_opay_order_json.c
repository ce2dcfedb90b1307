
/* Orders, products and event data as JSON.  Pool thread. */

#include "ngx_opay_order.h"


static void ngx_opay_order_json_money(opay_jw_t *w,
    const ngx_opay_order_t *order);
static void ngx_opay_order_json_items(opay_jw_t *w,
    const ngx_opay_order_t *order);
static void ngx_opay_order_json_hash(opay_jw_t *w,
    const ngx_opay_order_t *order);
static void ngx_opay_order_json_member(opay_jw_t *w, const char *name,
    json_t *data, const char *from);


void
ngx_opay_order_json(opay_jw_t *w, const ngx_opay_order_t *order)
{
    opay_jw_obj(w);

    opay_jw_kuuid(w, "id", &order->id);
    opay_jw_kstr(w, "orderNumber", order->number);
    opay_jw_kuuid(w, "userId", &order->user);
    ngx_opay_order_json_money(w, order);
    opay_jw_kstr(w, "shippingAddress", order->address);
    ngx_opay_order_json_items(w, order);
    opay_jw_kuuid(w, "paymentId", order->has_payment ? &order->payment
                                                     : NULL);
    opay_jw_kstr(w, "failureReason", order->failure);
    opay_jw_ki64(w, "version", order->version);
    opay_jw_ktime(w, "createdAt", order->created);
    opay_jw_ktime(w, "updatedAt", order->updated);
    opay_jw_ktime(w, "expiresAt", order->expires);

    opay_jw_obj_end(w);
}


void
ngx_opay_order_json_product(opay_jw_t *w, const ngx_opay_product_t *p)
{
    opay_jw_obj(w);

    opay_jw_kuuid(w, "id", &p->id);
    opay_jw_kstr(w, "name", p->name);
    opay_jw_ki64(w, "price", p->price);
    opay_jw_kstr(w, "currency", p->currency);
    opay_jw_kbool(w, "active", p->active != 0);
    opay_jw_ki64(w, "version", p->version);
    opay_jw_ktime(w, "createdAt", p->created);
    opay_jw_ktime(w, "updatedAt", p->updated);

    opay_jw_obj_end(w);
}


/* What the event store says; the data is our own JSON. */

void
ngx_opay_order_json_history(opay_jw_t *w, const ngx_opay_order_event_t *ev)
{
    json_t  *data;

    data = json_loadb(ev->data.data, ev->data.len, 0, NULL);

    opay_jw_obj(w);

    opay_jw_ki64(w, "version", ev->version);
    opay_jw_kstr(w, "type", ev->type);
    ngx_opay_order_json_member(w, "previousStatus", data, "previousStatus");
    ngx_opay_order_json_member(w, "newStatus", data, "status");
    opay_jw_ktime(w, "at", ev->at);
    opay_jw_kstr(w, "actor", ev->actor);

    opay_jw_obj_end(w);

    json_decref(data);
}


void
ngx_opay_order_reply(opay_call_t *call, int status,
    const ngx_opay_order_t *order)
{
    opay_jw_t   w;
    opay_str_t  body;

    opay_jw_init(&w, call->arena, 640 + order->nitems * 192);
    ngx_opay_order_json(&w, order);
    body = opay_jw_result(&w);

    if (body.data == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    opay_call_etag(call, order->version);
    opay_call_reply(call, status, body);
}


opay_str_t
ngx_opay_order_event_created(opay_arena_t *a, const ngx_opay_order_t *order)
{
    opay_jw_t  w;

    opay_jw_init(&w, a, 512 + order->nitems * 192);
    opay_jw_obj(&w);

    opay_jw_kuuid(&w, "orderId", &order->id);
    opay_jw_kuuid(&w, "userId", &order->user);
    opay_jw_kstr(&w, "orderNumber", order->number);
    opay_jw_knull(&w, "previousStatus");
    ngx_opay_order_json_money(&w, order);
    opay_jw_ki64(&w, "itemCount", order->nitems);
    ngx_opay_order_json_items(&w, order);
    ngx_opay_order_json_hash(&w, order);
    opay_jw_ki64(&w, "version", order->version);
    opay_jw_ktime(&w, "expiresAt", order->expires);

    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


opay_str_t
ngx_opay_order_event_changed(opay_arena_t *a, const ngx_opay_order_t *order,
    opay_order_status_e was, int refund, const ngx_opay_order_cause_t *cause)
{
    opay_jw_t  w;

    opay_jw_init(&w, a, 512);
    opay_jw_obj(&w);

    opay_jw_kuuid(&w, "orderId", &order->id);
    opay_jw_kuuid(&w, "userId", &order->user);
    opay_jw_kstr(&w, "orderNumber", order->number);
    opay_jw_kcstr(&w, "previousStatus", opay_order_status_name(was));
    ngx_opay_order_json_money(&w, order);
    opay_jw_ki64(&w, "version", order->version);
    opay_jw_ktime(&w, "expiresAt", order->expires);

    if (refund) {
        opay_jw_kuuid(&w, "paymentId", cause->payment);
        opay_jw_ki64(&w, "amount", cause->amount);

    } else if (order->has_payment) {
        opay_jw_kuuid(&w, "paymentId", &order->payment);
    }

    if (order->failure.data) {
        opay_jw_kstr(&w, "failureReason", order->failure);
    }

    if (cause->reason) {
        opay_jw_kcstr(&w, "reason", cause->reason);
    }

    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


static void
ngx_opay_order_json_money(opay_jw_t *w, const ngx_opay_order_t *order)
{
    opay_jw_kcstr(w, "status", opay_order_status_name(order->state.status));
    opay_jw_kcstr(w, "financialStatus",
                  opay_order_financial_name(order->state.financial));
    opay_jw_kcstr(w, "pendingOperation",
                  opay_order_op_name(order->state.pending));
    opay_jw_kstr(w, "currency", order->currency);
    opay_jw_ki64(w, "totalAmount", order->total);
}


static void
ngx_opay_order_json_items(opay_jw_t *w, const ngx_opay_order_t *order)
{
    size_t                  i;
    ngx_opay_order_item_t  *item;

    opay_jw_key(w, "items");
    opay_jw_arr(w);

    for (i = 0; i < order->nitems; i++) {
        item = &order->items[i];

        opay_jw_obj(w);
        opay_jw_kuuid(w, "productId", &item->product);
        opay_jw_kstr(w, "productName", item->name);
        opay_jw_ki64(w, "quantity", item->quantity);
        opay_jw_ki64(w, "price", item->price);
        opay_jw_ki64(w, "subtotal", item->subtotal);
        opay_jw_obj_end(w);
    }

    opay_jw_arr_end(w);
}


/* Ties the event to the address row without telling the address. */

static void
ngx_opay_order_json_hash(opay_jw_t *w, const ngx_opay_order_t *order)
{
    char     hex[65], *p;
    size_t   i;
    uint8_t  sum[32];

    if (opay_hmac_sha256(order->salt, 16, order->address.data,
                         order->address.len, sum)
        != OPAY_OK)
    {
        w->failed = 1;
        return;
    }

    for (i = 0, p = hex; i < 32; i++) {
        *p++ = "0123456789abcdef"[sum[i] >> 4];
        *p++ = "0123456789abcdef"[sum[i] & 0xf];
    }

    *p = '\0';

    opay_jw_kcstr(w, "shippingAddressHash", hex);
}


static void
ngx_opay_order_json_member(opay_jw_t *w, const char *name, json_t *data,
    const char *from)
{
    opay_jw_kcstr(w, name, json_string_value(json_object_get(data, from)));
}
