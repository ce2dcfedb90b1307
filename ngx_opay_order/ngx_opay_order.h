
/*
 * The order service: catalogue and orders; private to ngx_opay_order.
 *
 * DESIGN
 *
 *   ngx_opay_order_module.c   directives, the route table
 *   ngx_opay_order_create.c   new orders, in batches
 *   ngx_opay_order_ops.c      read, cancel, history
 *   ngx_opay_order_list.c     keyset lists of orders
 *   ngx_opay_order_product.c  the catalogue as clients see it
 *   ngx_opay_order_events.c   what moves an order: payment events, expiry
 *   ngx_opay_order_json.c     orders, products and event data as JSON
 *   ngx_opay_order_store.c, ngx_opay_order_product_store.c
 *                             SQL: neither nginx nor JSON
 *
 * Structs and strings here live in the arena of the call they were read or
 * decoded for, and have its one owner.  The row of an order is changed in one
 * way only: lock it, ask lib/opay_fsm_order, write row and events
 * (ngx_opay_order_move()).  version counts the events.
 */

#ifndef _NGX_OPAY_ORDER_H_INCLUDED_
#define _NGX_OPAY_ORDER_H_INCLUDED_


#include "ngx_opay_core.h"

#include "opay_cursor.h"
#include "opay_fsm_order.h"


#define NGX_OPAY_ORDER_ITEMS     100
#define NGX_OPAY_ORDER_QUANTITY  9999
#define NGX_OPAY_ORDER_ADDRESS   255      /* code points */
#define NGX_OPAY_ORDER_FAILURE   255
#define NGX_OPAY_ORDER_SWEEP     64       /* orders per run and status */

#define NGX_OPAY_ORDER_EXPIRE_JOB  "order.expire"


/* Written while the configuration is read; immutable after. */
typedef struct {
    ngx_flag_t             enable;
    ngx_msec_t             ttl;
    ngx_msec_t             grace;      /* from expires_at to the sweep */
    ngx_str_t              cursor_key_file;
    opay_str_t             cursor_key;
} ngx_opay_order_conf_t;


#define NGX_OPAY_ORDER_NOT_FOUND   "There is no such order."

/* Starts the range where the cursor stands; ties are cut by id. */
#define NGX_OPAY_ORDER_AFTER                                                 \
    " AND created_at <= ? AND (created_at < ? OR id < ?)"

#define NGX_OPAY_ORDER_NEWEST                                                \
    " ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"


typedef struct {
    opay_uuid_t            id;
    opay_str_t             name;
    int64_t                price;
    opay_str_t             currency;
    int64_t                active;
    int64_t                version;
    int64_t                created;
    int64_t                updated;
} ngx_opay_product_t;


typedef struct {
    opay_uuid_t            product;
    opay_str_t             name;
    int64_t                quantity;
    int64_t                price;
    int64_t                subtotal;
    size_t                 index;      /* in the request: error pointers */
} ngx_opay_order_item_t;


typedef struct {
    opay_uuid_t            id;
    opay_str_t             number;
    opay_uuid_t            user;
    opay_order_state_t     state;
    opay_str_t             currency;
    int64_t                total;
    int64_t                captured;
    int64_t                refunded;
    int64_t                refunds_open;
    unsigned               has_payment;
    opay_uuid_t            payment;
    opay_str_t             failure;    /* data NULL: none */
    int64_t                version;
    int64_t                created;
    int64_t                updated;
    int64_t                expires;

    /* own rows; see ngx_opay_order_store_details() */
    opay_str_t             address;    /* data NULL: erased */
    uint8_t                salt[16];
    ngx_opay_order_item_t *items;
    size_t                 nitems;
} ngx_opay_order_t;


typedef struct {
    opay_str_t             type;
    opay_str_t             data;
    opay_str_t             actor;
    int64_t                version;
    int64_t                at;
} ngx_opay_order_event_t;


/* Which orders a list is about; unset members do not restrict. */
typedef struct {
    unsigned               has_user;
    opay_uuid_t            user;
    opay_order_status_e    status;     /* OPAY_ORDER_NONE: any */
    unsigned               has_from;
    unsigned               has_to;
    int64_t                from;       /* created_at >= */
    int64_t                to;         /* created_at < */
    opay_page_t            page;
    opay_str_t             scope;      /* of the cursor */
} ngx_opay_order_filter_t;


/* What a transition's events say beside the order itself. */
typedef struct {
    const char            *actor;
    const char            *traceparent;
    const char            *reason;     /* NULL: none */
    const opay_uuid_t     *payment;    /* order.refund_requested: of what, */
    int64_t                amount;     /* and how much */
} ngx_opay_order_cause_t;


/*
 * ngx_opay_order_store.c: pool thread; what opay_db_* return is handed up.
 * Ids of a query may repeat and come in any order; its result is sorted by
 * id, has only what exists, and is searched with ngx_opay_order_find().
 */

/* base: n products or orders, sorted by id.  NULL: not there. */
void *ngx_opay_order_find(const void *base, size_t n, size_t size,
    const opay_uuid_t *id);

/* For qsort and bsearch: an id, or what begins with one. */
int ngx_opay_order_store_cmp_id(const void *one, const void *two);

/* The ids as parameters of a query, each once. */
opay_db_rc_t ngx_opay_order_store_ids(opay_arena_t *a,
    const opay_uuid_t *ids, size_t n, opay_db_value_t **values,
    size_t *count);

opay_db_rc_t ngx_opay_order_store_products(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *ids, size_t n, ngx_opay_product_t **products,
    size_t *found);

/* Active products, newest first; one row over page->limit when there is. */
opay_db_rc_t ngx_opay_order_store_product_list(opay_db_t *db,
    opay_arena_t *a, const opay_page_t *page, ngx_opay_product_t **products,
    size_t *n);

/* New orders with their addresses and items, in three statements. */
opay_db_rc_t ngx_opay_order_store_insert(opay_db_t *db, opay_arena_t *a,
    ngx_opay_order_t **orders, size_t n);

/* Without details. */
opay_db_rc_t ngx_opay_order_store_get(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *ids, size_t n, ngx_opay_order_t **orders,
    size_t *found);

/* Locks the row; version is 0 when there is none. */
opay_db_rc_t ngx_opay_order_store_lock(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, ngx_opay_order_t *order);

/* Locks up to limit orders of a status past their time, oldest first. */
opay_db_rc_t ngx_opay_order_store_expired(opay_db_t *db, opay_arena_t *a,
    opay_order_status_e status, int64_t now, size_t limit,
    ngx_opay_order_t **orders, size_t *n);

opay_db_rc_t ngx_opay_order_store_list(opay_db_t *db, opay_arena_t *a,
    const ngx_opay_order_filter_t *f, ngx_opay_order_t **orders, size_t *n);

/* Reads addresses and items of n different orders, in two statements. */
opay_db_rc_t ngx_opay_order_store_details(opay_db_t *db, opay_arena_t *a,
    ngx_opay_order_t *orders, size_t n);

/* Writes what a transition may change; was: the version that was locked. */
opay_db_rc_t ngx_opay_order_store_update(opay_db_t *db,
    const ngx_opay_order_t *order, int64_t was);

/* Events of an order after a version, oldest first, up to limit. */
opay_db_rc_t ngx_opay_order_store_history(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *id, int64_t after, int64_t limit,
    ngx_opay_order_event_t **events, size_t *n);


/* ngx_opay_order_json.c */

void ngx_opay_order_json(opay_jw_t *w, const ngx_opay_order_t *order);
void ngx_opay_order_json_product(opay_jw_t *w, const ngx_opay_product_t *p);
void ngx_opay_order_json_history(opay_jw_t *w,
    const ngx_opay_order_event_t *ev);

/* The order as the body of a reply, with its ETag. */
void ngx_opay_order_reply(opay_call_t *call, int status,
    const ngx_opay_order_t *order);

/*
 * The data of an event.  order is as it is after the event, was its status
 * before; refund: the event asks for the refund that the cause describes.
 * data NULL: out of memory.
 */
opay_str_t ngx_opay_order_event_created(opay_arena_t *a,
    const ngx_opay_order_t *order);
opay_str_t ngx_opay_order_event_changed(opay_arena_t *a,
    const ngx_opay_order_t *order, opay_order_status_e was, int refund,
    const ngx_opay_order_cause_t *cause);


/* ngx_opay_order_events.c */

/*
 * Pool thread; the row is locked.  Writes the verdict (APPLY): order becomes
 * its next state, with one version per event.
 */
opay_db_rc_t ngx_opay_order_move(opay_db_t *db, opay_call_t *call,
    ngx_opay_order_t *order, const opay_order_verdict_t *verdict,
    const ngx_opay_order_cause_t *cause);

opay_db_rc_t ngx_opay_order_inbound(opay_db_t *db, opay_call_t **calls,
    size_t n);
void ngx_opay_order_expire_make(opay_call_t *call);
opay_db_rc_t ngx_opay_order_expire(opay_db_t *db, opay_call_t **calls,
    size_t n);
void ngx_opay_order_expire_again(opay_call_t *call);


/* ngx_opay_order_create.c, _ops.c, _list.c, _product.c */

void ngx_opay_order_create_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_order_create(opay_db_t *db, opay_call_t **calls,
    size_t n);
void ngx_opay_order_id_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_order_get(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_order_get_internal(opay_db_t *db, opay_call_t **calls,
    size_t n);
opay_db_rc_t ngx_opay_order_cancel(opay_db_t *db, opay_call_t **calls,
    size_t n);
void ngx_opay_order_history_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_order_history(opay_db_t *db, opay_call_t **calls,
    size_t n);

void ngx_opay_order_list_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_order_list(opay_db_t *db, opay_call_t **calls,
    size_t n);

void ngx_opay_order_products_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_order_products(opay_db_t *db, opay_call_t **calls,
    size_t n);
void ngx_opay_order_product_decode(opay_call_t *call);
opay_db_rc_t ngx_opay_order_product(opay_db_t *db, opay_call_t **calls,
    size_t n);

/* May this caller see what belongs to user? */
int ngx_opay_order_visible(const opay_call_t *call, const opay_uuid_t *user);

/* Renders "user:<uuid>" or, for somebody else's order, "admin:<uuid>". */
const char *ngx_opay_order_actor(opay_call_t *call, const opay_uuid_t *user);


#endif /* _NGX_OPAY_ORDER_H_INCLUDED_ */
