
/*
 * The order service's operations against a real database, without nginx:
 * calls are made by hand and run through ngx_opay_exec, as a pool thread
 * does.  See run.sh.
 */

#ifndef FIXTURE_H_INCLUDED
#define FIXTURE_H_INCLUDED

#include "ngx_opay_order.h"
#include "ngx_opay_exec.h"
#include "opay_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>


/* Products of fixture_setup(); see there. */
enum {
    P_BEANS = 0,                       /* 18900 KRW */
    P_CUP,                             /* 12500 KRW */
    P_GONE,                            /* not on sale */
    P_DOLLAR,                          /* 10.00 USD */
    P_HUGE,                            /* as much as an amount can be */
    P_MAX
};

extern opay_uuid_t            fx_product[P_MAX];
extern opay_uuid_t            fx_alice;
extern opay_uuid_t            fx_bob;
extern opay_uuid_t            fx_admin;
extern ngx_opay_order_conf_t  fx_conf;
extern opay_db_t             *fx_db;
extern unsigned               fx_kicks;    /* of the expiry job */

extern const ngx_opay_step_t  fx_create;
extern const ngx_opay_step_t  fx_get;
extern const ngx_opay_step_t  fx_internal;
extern const ngx_opay_step_t  fx_cancel;
extern const ngx_opay_step_t  fx_history;
extern const ngx_opay_step_t  fx_list;
extern const ngx_opay_step_t  fx_products;
extern const ngx_opay_step_t  fx_product_get;
extern const ngx_opay_step_t  fx_events;
extern const ngx_opay_step_t  fx_expire;


int fixture_setup(void **state);
int fixture_teardown(void **state);

/* One more connection, for a second thread. */
opay_db_t *fixture_db(void);

/* A call of user; freed with call_free(). */
opay_call_t *call_new(const opay_uuid_t *user);
void call_free(opay_call_t *call);

/* The call's body; its reply, as JSON, borrowed. */
void call_body(opay_call_t *call, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
json_t *call_json(opay_call_t *call);

/* Runs one call, or a batch. */
void call_run(const ngx_opay_step_t *step, opay_call_t *call);
void call_run_n(const ngx_opay_step_t *step, opay_call_t **calls, size_t n);

const char *uuid(const opay_uuid_t *u);            /* a few static buffers */
const char *jstr(json_t *o, const char *name);
int64_t jint(json_t *o, const char *name);

/* The first column of the first row; fails the test when there is none. */
int64_t sql_int(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sql_do(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A CREATED order of alice: 2 beans, 1 cup, 50300 KRW. */
opay_uuid_t order_new(void);

/* GET by alice; borrowed until the next. */
json_t *order_read(const opay_uuid_t *id);

/*
 * Delivers an event of a payment; versions count up per payment.  amount < 0
 * leaves it out.  Returns the outcome: "applied", "duplicate", "gap",
 * "rejected:<why>".
 */
const char *payment_event(const opay_uuid_t *order,
    const opay_uuid_t *payment, int64_t version, const char *type,
    int64_t amount);

/*
 * The order's event types, joined by a space.  Checks that versions have no
 * gap, that the row's version is their number and the row what they fold to.
 */
const char *order_trail(const opay_uuid_t *id);

/* The data of an order's event; borrowed until the next. */
json_t *order_event(const opay_uuid_t *id, int64_t version);


extern const struct CMUnitTest  create_tests[];
extern const size_t             create_ntests;
extern const struct CMUnitTest  read_tests[];
extern const size_t             read_ntests;
extern const struct CMUnitTest  move_tests[];
extern const size_t             move_ntests;


#endif /* FIXTURE_H_INCLUDED */
