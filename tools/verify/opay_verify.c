
/*
 * opay-verify: reads a service's event store and proves it.
 *
 *   opay-verify -s SOCKET|HOST:PORT -u USER [-p PASSWORDFILE] -d DATABASE
 *               -f order|payment|none
 *
 * For every aggregate: versions run from 1 without a gap, every hash covers
 * its event and the hash before.  With -f, each row of the projection equals
 * the fold of its events, by the same tables that the service uses, and its
 * version is their number.
 *
 * One line per check: "ok NAME (N)" or "not ok NAME: what".  Exit 1 when one
 * is not.  It reads while the services write: everything is read in one
 * transaction with a consistent snapshot.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "opay_base.h"
#include "opay_db.h"
#include "opay_fsm_order.h"
#include "opay_fsm_payment.h"


#define OPAY_VERIFY_PAGE  "2000"


typedef struct {
    char                  agg_type[17];
    opay_uuid_t           id;
    int64_t               version;
    uint8_t               hash[32];
    opay_order_state_t    order;
    opay_payment_state_t  payment;
    unsigned              wrong;
} opay_verify_agg_t;

typedef struct {
    opay_db_t            *db;
    opay_verify_agg_t     agg;
    const char           *fold;        /* aggregate type, or NULL */
    uint64_t              events;
    uint64_t              aggregates;
    uint64_t              rows;        /* of the projection, matched */
    unsigned              bad_version;
    unsigned              bad_hash;
    unsigned              bad_fold;
    unsigned              bad_row;
    char                  first[4][256];
} opay_verify_t;

enum { V_VERSION, V_HASH, V_FOLD, V_ROW };


static void
opay_verify_note(opay_verify_t *v, int which, const char *what)
{
    char  id[OPAY_UUID_TEXT + 1];

    if (v->first[which][0] == '\0') {
        (void) snprintf(v->first[which], sizeof(v->first[which]),
                        "%s %s version %lld: %s", v->agg.agg_type,
                        opay_uuid_format(&v->agg.id, id),
                        (long long) v->agg.version, what);
    }
}


static int
opay_verify_hash(opay_arena_t *a, opay_verify_agg_t *agg, opay_str_t type,
    opay_str_t data, uint8_t *out)
{
    int      i;
    char    *p, *buf;
    size_t   alen;

    alen = strlen(agg->agg_type) + 1;
    buf = opay_arena_alloc(a, 32 + alen + 16 + 8 + type.len + 1 + data.len);
    if (buf == NULL) {
        return OPAY_ERROR;
    }

    memcpy(buf, agg->hash, 32);        /* of the version before, or zeros */
    p = buf + 32;
    memcpy(p, agg->agg_type, alen);
    p += alen;
    memcpy(p, agg->id.b, 16);
    p += 16;

    for (i = 0; i < 8; i++) {
        *p++ = (char) ((uint64_t) agg->version >> (56 - 8 * i));
    }

    memcpy(p, type.data, type.len);
    p += type.len;
    *p++ = '\0';
    memcpy(p, data.data, data.len);
    p += data.len;

    return opay_sha256(buf, (size_t) (p - buf), out);
}


static int
opay_verify_full_refund(opay_str_t data)
{
    int          full;
    json_t      *root;
    const char  *s;

    root = json_loadb(data.data, data.len, 0, NULL);
    s = json_string_value(json_object_get(root, "financialStatus"));
    full = s && strcmp(s, "REFUNDED") == 0;
    json_decref(root);

    return full;
}


static void
opay_verify_fold(opay_verify_t *v, opay_str_t type, opay_str_t data)
{
    int  rc;

    if (v->fold == NULL || strcmp(v->fold, v->agg.agg_type) != 0) {
        return;
    }

    if (strcmp(v->fold, "order") == 0) {
        rc = opay_order_apply_event(&v->agg.order, type,
                                    opay_verify_full_refund(data));
    } else {
        rc = opay_payment_apply_event(&v->agg.payment, type);
    }

    if (rc != OPAY_OK) {
        opay_verify_note(v, V_FOLD, "the event is not possible there");
        v->bad_fold++;
        v->agg.wrong = 1;
    }
}


static int
opay_verify_is(opay_str_t column, const char *want)
{
    if (want == NULL) {
        return column.data == NULL;
    }

    return column.data != NULL && opay_str_is(column, want);
}


/* The last event of an aggregate was read: its row must say the same. */
static int
opay_verify_row(opay_verify_t *v)
{
    int               ok, order;
    opay_arena_t     *a;
    opay_db_rc_t      rc;
    opay_db_value_t   id;
    opay_db_result_t  r;

    if (v->fold == NULL || strcmp(v->fold, v->agg.agg_type) != 0
        || v->agg.wrong)
    {
        return OPAY_OK;
    }

    a = opay_arena_create(4096);
    if (a == NULL) {
        return OPAY_ERROR;
    }

    order = strcmp(v->fold, "order") == 0;
    id = opay_db_uuid(&v->agg.id);

    rc = opay_db_query(v->db, a, order
             ? "SELECT version, status, financial_status, pending_operation"
               " FROM orders WHERE id = ?"
             : "SELECT version, status, outcome_unknown, refunds_open"
               " FROM payments WHERE id = ?", &id, 1, &r);

    if (rc != OPAY_DB_OK) {
        fprintf(stderr, "opay-verify: %s\n", opay_db_error(v->db));
        opay_arena_destroy(a);
        return OPAY_ERROR;
    }

    if (r.rows != 1) {
        ok = 0;
        opay_verify_note(v, V_ROW, "has events and no row");

    } else if (opay_db_get_i64(&r, 0, 0) != v->agg.version) {
        ok = 0;
        opay_verify_note(v, V_ROW, "the row has another version");

    } else if (order) {
        ok = opay_verify_is(opay_db_get_str(&r, 0, 1),
                            opay_order_status_name(v->agg.order.status))
             && opay_verify_is(opay_db_get_str(&r, 0, 2),
                          opay_order_financial_name(v->agg.order.financial))
             && opay_verify_is(opay_db_get_str(&r, 0, 3),
                               opay_order_op_name(v->agg.order.pending));

    } else {
        ok = opay_verify_is(opay_db_get_str(&r, 0, 1),
                            opay_payment_status_name(v->agg.payment.status))
             && opay_db_get_i64(&r, 0, 2) == v->agg.payment.unknown
             && opay_db_get_i64(&r, 0, 3) == v->agg.payment.open;
    }

    if (!ok) {
        opay_verify_note(v, V_ROW, "the row is not the fold of its events");
        v->bad_row++;
    }

    v->rows++;
    opay_arena_destroy(a);

    return OPAY_OK;
}


static int
opay_verify_event(opay_verify_t *v, opay_arena_t *a, opay_db_result_t *r,
    size_t i)
{
    uint8_t      want[32], zero[32];
    int64_t      version;
    opay_str_t   agg_type, type, data, prev, hash;
    opay_uuid_t  id;

    agg_type = opay_db_get_str(r, i, 0);
    version = opay_db_get_i64(r, i, 2);
    type = opay_db_get_str(r, i, 3);
    data = opay_db_get_str(r, i, 4);
    prev = opay_db_get_str(r, i, 5);
    hash = opay_db_get_str(r, i, 6);

    if (opay_db_get_uuid(r, i, 1, &id) != OPAY_OK || agg_type.len > 16
        || hash.len != 32)
    {
        return OPAY_ERROR;
    }

    if (v->agg.version == 0 || !opay_str_is(agg_type, v->agg.agg_type)
        || !opay_uuid_eq(&id, &v->agg.id))
    {
        if (v->agg.version && opay_verify_row(v) != OPAY_OK) {
            return OPAY_ERROR;
        }

        memset(&v->agg, 0, sizeof(v->agg));
        memcpy(v->agg.agg_type, agg_type.data, agg_type.len);
        v->agg.id = id;
        v->aggregates++;
    }

    if (version != v->agg.version + 1) {
        v->agg.version = version;
        v->agg.wrong = 1;
        v->bad_version++;
        opay_verify_note(v, V_VERSION, "does not follow the one before");
    }

    memset(zero, 0, sizeof(zero));
    v->agg.version = version;

    if ((version == 1 ? prev.data != NULL
                      : prev.len != 32
                        || memcmp(prev.data, v->agg.hash, 32) != 0)
        || opay_verify_hash(a, &v->agg, type, data, want) != OPAY_OK
        || memcmp(want, hash.data, 32) != 0)
    {
        v->bad_hash++;
        opay_verify_note(v, V_HASH, "the hash does not cover it");
    }

    memcpy(v->agg.hash, hash.data, 32);
    opay_verify_fold(v, type, data);
    v->events++;

    return OPAY_OK;
}


/* Pages by (agg_type, agg_id, version): the unique key. */
static int
opay_verify_events(opay_verify_t *v)
{
    size_t            i;
    opay_arena_t     *a;
    opay_db_rc_t      rc;
    opay_db_value_t   p[6];
    opay_db_result_t  r;

    do {
        a = opay_arena_create(65536);
        if (a == NULL) {
            return OPAY_ERROR;
        }

        p[0] = p[1] = p[3] = opay_db_text(opay_str_of(v->agg.agg_type));
        p[2] = p[4] = opay_db_uuid(&v->agg.id);
        p[5] = opay_db_i64(v->agg.version);

        rc = opay_db_query(v->db, a,
                 "SELECT agg_type, agg_id, version, type, data, prev_hash,"
                 " hash FROM events WHERE agg_type > ?"
                 " OR (agg_type = ? AND agg_id > ?)"
                 " OR (agg_type = ? AND agg_id = ? AND version > ?)"
                 " ORDER BY agg_type, agg_id, version"
                 " LIMIT " OPAY_VERIFY_PAGE, p, 6, &r);

        if (rc != OPAY_DB_OK) {
            fprintf(stderr, "opay-verify: %s\n", opay_db_error(v->db));
            opay_arena_destroy(a);
            return OPAY_ERROR;
        }

        for (i = 0; i < r.rows; i++) {
            if (opay_verify_event(v, a, &r, i) != OPAY_OK) {
                opay_arena_destroy(a);
                return OPAY_ERROR;
            }
        }

        opay_arena_destroy(a);

    } while (r.rows > 0);

    return v->agg.version ? opay_verify_row(v) : OPAY_OK;
}


static int
opay_verify_report(const char *name, uint64_t n, unsigned bad,
    const char *first)
{
    if (bad == 0) {
        printf("ok %s (%llu)\n", name, (unsigned long long) n);
        return 0;
    }

    printf("not ok %s: %u wrong, first %s\n", name, bad, first);

    return 1;
}


static int
opay_verify_run(opay_db_conf_t *conf, const char *fold)
{
    int            bad;
    opay_verify_t  v;

    memset(&v, 0, sizeof(v));
    v.fold = strcmp(fold, "none") == 0 ? NULL : fold;
    v.db = opay_db_create(conf);

    if (v.db == NULL) {
        return 2;
    }

    /* SET applies to the next transaction: the one that begin() opens. */
    if (opay_db_exec(v.db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                     NULL, 0, NULL) != OPAY_DB_OK
        || opay_db_begin(v.db) != OPAY_DB_OK
        || opay_verify_events(&v) != OPAY_OK)
    {
        fprintf(stderr, "opay-verify: cannot read \"%s\": %s\n",
                conf->database, opay_db_error(v.db));
        opay_db_destroy(v.db);
        return 2;
    }

    opay_db_rollback(v.db);
    opay_db_destroy(v.db);

    bad = opay_verify_report("event versions are contiguous", v.events,
                             v.bad_version, v.first[V_VERSION]);
    bad |= opay_verify_report("the hash chain is whole", v.events,
                              v.bad_hash, v.first[V_HASH]);

    if (v.fold) {
        bad |= opay_verify_report("every event is a legal step", v.events,
                                  v.bad_fold, v.first[V_FOLD]);
        bad |= opay_verify_report("every row is the fold of its events",
                                  v.rows, v.bad_row, v.first[V_ROW]);
    }

    return bad;
}


static char *
opay_verify_password(const char *path)
{
    FILE         *f;
    static char   line[256];

    f = fopen(path, "r");

    if (f == NULL || fgets(line, sizeof(line), f) == NULL) {
        fprintf(stderr, "opay-verify: cannot read \"%s\"\n", path);
        exit(2);
    }

    fclose(f);
    line[strcspn(line, "\n")] = '\0';

    return line;
}


int
main(int argc, char **argv)
{
    int              c;
    char            *colon;
    const char      *fold;
    opay_db_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    fold = NULL;
    conf.password = "";
    conf.connect_timeout = 5000;
    conf.timeout = 60000;
    conf.lock_timeout = 10;

    while ((c = getopt(argc, argv, "s:u:p:d:f:")) != -1) {
        switch (c) {
        case 's':
            colon = optarg[0] == '/' ? NULL : strrchr(optarg, ':');

            if (colon) {
                *colon = '\0';
                conf.host = optarg;
                conf.port = (unsigned) atoi(colon + 1);
            } else {
                conf.socket = optarg;
            }
            break;
        case 'u':
            conf.user = optarg;
            break;
        case 'p':
            conf.password = opay_verify_password(optarg);
            break;
        case 'd':
            conf.database = optarg;
            break;
        case 'f':
            fold = optarg;
            break;
        default:
            conf.user = NULL;
            optind = argc;
        }
    }

    if (conf.user == NULL || conf.database == NULL || fold == NULL
        || (conf.socket == NULL && conf.host == NULL))
    {
        fprintf(stderr, "usage: opay-verify -s SOCKET|HOST:PORT -u USER"
                " [-p PASSWORDFILE] -d DATABASE -f order|payment|none\n");
        return 2;
    }

    return opay_verify_run(&conf, fold);
}
