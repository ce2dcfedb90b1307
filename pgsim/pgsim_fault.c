/*
 * DESIGN
 *
 * Fault rules: a list in the order they were added, behind one mutex.  The
 * first rule that matches applies, and is gone after `count` uses.  Rules
 * live in memory only: a restart is a healthy provider.
 */

#include <stdio.h>
#include <stdlib.h>

#include "pgsim.h"


#define PGSIM_FAULTS_MAX  1000


typedef struct pgsim_rule_s  pgsim_rule_t;

struct pgsim_rule_s {
    pgsim_rule_t   *next;
    char            match[16];
    char            order_id[65];  /* empty: any */
    int64_t         skip;          /* matches to let pass first */
    int64_t         count;
    pgsim_fault_t   fault;
};

struct pgsim_faults_s {
    pthread_mutex_t   lock;
    pgsim_rule_t     *rules;
    size_t            n;
};


static const struct {
    const char     *name;
    pgsim_fault_e   what;
} pgsim_fault_names[] = {
    { "delay", PGSIM_F_DELAY },
    { "drop_before", PGSIM_F_DROP_BEFORE },
    { "drop_after", PGSIM_F_DROP_AFTER },
    { "error", PGSIM_F_ERROR },
    { "error_after", PGSIM_F_ERROR_AFTER },
    { "wrong_amount", PGSIM_F_WRONG_AMOUNT },
    { "reset_body", PGSIM_F_RESET_BODY },
    { "hold_before", PGSIM_F_HOLD_BEFORE },
    { "hold_after", PGSIM_F_HOLD_AFTER },
    { NULL, PGSIM_F_NONE }
};


static int pgsim_rule_parse(json_t *o, pgsim_rule_t *r, const char **why);


pgsim_faults_t *
pgsim_faults_create(void)
{
    pgsim_faults_t  *f;

    f = calloc(1, sizeof(pgsim_faults_t));

    if (f) {
        pthread_mutex_init(&f->lock, NULL);
    }

    return f;
}


void
pgsim_faults_destroy(pgsim_faults_t *f)
{
    pgsim_rule_t  *r;

    while ((r = f->rules) != NULL) {
        f->rules = r->next;
        free(r);
    }

    pthread_mutex_destroy(&f->lock);
    free(f);
}


void
pgsim_fault_take(pgsim_faults_t *f, const char *op, const char *order_id,
    pgsim_fault_t *out)
{
    pgsim_rule_t  *r, **p;

    memset(out, 0, sizeof(pgsim_fault_t));

    pthread_mutex_lock(&f->lock);

    for (p = &f->rules; *p; p = &(*p)->next) {
        r = *p;

        if ((strcmp(r->match, "any") != 0 && strcmp(r->match, op) != 0)
            || (r->order_id[0] && strcmp(r->order_id, order_id) != 0))
        {
            continue;
        }

        if (r->skip > 0) {
            r->skip--;
            continue;
        }

        *out = r->fault;

        if (--r->count == 0) {
            *p = r->next;
            f->n--;
            free(r);
        }

        break;
    }

    pthread_mutex_unlock(&f->lock);
}


void
pgsim_faults_add(pgsim_faults_t *f, json_t *o, pgsim_reply_t *rep)
{
    const char    *why;
    pgsim_rule_t  *r, **p;

    r = calloc(1, sizeof(pgsim_rule_t));
    if (r == NULL) {
        return;
    }

    if (pgsim_rule_parse(o, r, &why) != OPAY_OK) {
        free(r);
        pgsim_reply_error(rep, 400, "INVALID_RULE", why);
        return;
    }

    pthread_mutex_lock(&f->lock);

    if (f->n < PGSIM_FAULTS_MAX) {
        for (p = &f->rules; *p; p = &(*p)->next) { /* void */ }

        *p = r;
        f->n++;
        r = NULL;
    }

    pthread_mutex_unlock(&f->lock);

    if (r) {
        free(r);
        pgsim_reply_error(rep, 409, "TOO_MANY_RULES",
                          "DELETE /_sim/faults first.");
        return;
    }

    pgsim_reply_json(rep, 201, json_object());
}


static int
pgsim_rule_parse(json_t *o, pgsim_rule_t *r, const char **why)
{
    int           i;
    json_int_t    count, skip, ms, status;
    const char   *match, *action, *order, *code;

    match = "any";
    order = code = "";
    count = 1;
    skip = ms = 0;
    status = 500;

    if (json_unpack(o, "{s?s, s:s, s?s, s?I, s?I, s?I, s?I, s?s !}",
                    "match", &match, "action", &action, "orderId", &order,
                    "count", &count, "skip", &skip, "ms", &ms,
                    "status", &status, "code", &code)
        != 0)
    {
        *why = "Members: match, action, orderId, count, skip, ms, status,"
               " code; action is required.";
        return OPAY_ERROR;
    }

    *why = "match is any, confirm, get or cancel.";

    if (strcmp(match, "any") != 0 && strcmp(match, "confirm") != 0
        && strcmp(match, "get") != 0 && strcmp(match, "cancel") != 0)
    {
        return OPAY_ERROR;
    }

    *why = "A number is out of range, or a text too long.";

    if (count < 1 || skip < 0 || ms < 0 || ms > 3600000 || status < 400
        || status > 599 || strlen(order) >= sizeof(r->order_id)
        || strlen(code) >= sizeof(r->fault.code))
    {
        return OPAY_ERROR;
    }

    *why = "action is delay, drop_before, drop_after, error, error_after,"
           " wrong_amount, reset_body, hold_before or hold_after.";

    for (i = 0; pgsim_fault_names[i].name; i++) {
        if (strcmp(pgsim_fault_names[i].name, action) == 0) {
            break;
        }
    }

    if (pgsim_fault_names[i].name == NULL) {
        return OPAY_ERROR;
    }

    snprintf(r->match, sizeof(r->match), "%s", match);
    snprintf(r->order_id, sizeof(r->order_id), "%s", order);
    snprintf(r->fault.code, sizeof(r->fault.code), "%s",
             code[0] ? code : "FAILED_INTERNAL_SYSTEM_PROCESSING");
    r->count = count;
    r->skip = skip;
    r->fault.what = pgsim_fault_names[i].what;
    r->fault.ms = ms;
    r->fault.status = status;

    return OPAY_OK;
}


void
pgsim_faults_clear(pgsim_faults_t *f, pgsim_reply_t *rep)
{
    pgsim_rule_t  *r;

    pthread_mutex_lock(&f->lock);

    while ((r = f->rules) != NULL) {
        f->rules = r->next;
        free(r);
    }

    f->n = 0;

    pthread_mutex_unlock(&f->lock);

    pgsim_reply_json(rep, 200, json_object());
}


void
pgsim_faults_list(pgsim_faults_t *f, pgsim_reply_t *rep)
{
    int            i;
    json_t        *list;
    pgsim_rule_t  *r;

    list = json_array();

    pthread_mutex_lock(&f->lock);

    for (r = f->rules; r; r = r->next) {

        for (i = 0; pgsim_fault_names[i].what != r->fault.what; i++) {
            /* void */
        }

        json_array_append_new(list, json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s}",
            "match", r->match, "action", pgsim_fault_names[i].name,
            "orderId", r->order_id, "count", (json_int_t) r->count,
            "skip", (json_int_t) r->skip, "ms", (json_int_t) r->fault.ms,
            "status", r->fault.status, "code", r->fault.code));
    }

    pthread_mutex_unlock(&f->lock);

    pgsim_reply_json(rep, 200, json_pack("{s:o}", "faults", list));
}
