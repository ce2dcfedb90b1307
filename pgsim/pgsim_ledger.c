/*
 * DESIGN
 *
 * One SQLite connection behind one mutex, statements prepared once.  The
 * mutex is held from begin to commit or rollback.  WAL with
 * synchronous=FULL: a commit that has returned survives kill -9 and power
 * loss.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sqlite3.h>

#include "pgsim.h"


typedef enum {
    PGSIM_S_BEGIN = 0,
    PGSIM_S_COMMIT,
    PGSIM_S_ROLLBACK,
    PGSIM_S_BY_ORDER,
    PGSIM_S_BY_KEY,
    PGSIM_S_PUT,
    PGSIM_S_CANCEL,
    PGSIM_S_BALANCE,
    PGSIM_S_CANCELS,
    PGSIM_S_IDEM_GET,
    PGSIM_S_IDEM_PUT,
    PGSIM_S_IDEM_PURGE,
    PGSIM_S_DUMP_PAYMENTS,
    PGSIM_S_DUMP_CANCELS,
    PGSIM_S_MAX
} pgsim_stmt_e;


struct pgsim_ledger_s {
    sqlite3          *db;
    sqlite3_stmt     *stmt[PGSIM_S_MAX];
    pthread_mutex_t   lock;
};


static const char  pgsim_schema[] =
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "PRAGMA foreign_keys=ON;"
    "CREATE TABLE IF NOT EXISTS payments ("
    " payment_key TEXT PRIMARY KEY, order_id TEXT NOT NULL UNIQUE,"
    " token TEXT NOT NULL, status TEXT NOT NULL,"
    " amount INTEGER NOT NULL CHECK (amount > 0),"
    " balance INTEGER NOT NULL CHECK (balance BETWEEN 0 AND amount),"
    " failure_code TEXT NOT NULL, last_tx TEXT NOT NULL,"
    " requested_at INTEGER NOT NULL, approved_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS cancels ("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, tx TEXT NOT NULL UNIQUE,"
    " payment_key TEXT NOT NULL REFERENCES payments(payment_key),"
    " amount INTEGER NOT NULL CHECK (amount > 0), left INTEGER NOT NULL,"
    " reason TEXT NOT NULL, canceled_at INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS cancels_payment ON cancels(payment_key);"
    "CREATE TABLE IF NOT EXISTS idempotency ("
    " scope TEXT PRIMARY KEY, status INTEGER NOT NULL, body TEXT NOT NULL,"
    " created_at INTEGER NOT NULL) WITHOUT ROWID;";


#define PGSIM_COLUMNS                                                        \
    "payment_key, order_id, token, status, amount, balance, failure_code,"   \
    " last_tx, requested_at, approved_at, expires_at"

static const char  *pgsim_sql[PGSIM_S_MAX] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SELECT " PGSIM_COLUMNS " FROM payments WHERE order_id = ?",
    "SELECT " PGSIM_COLUMNS " FROM payments WHERE payment_key = ?",
    "INSERT OR REPLACE INTO payments (" PGSIM_COLUMNS ")"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?)",
    "INSERT INTO cancels (tx, payment_key, amount, left, reason,"
        " canceled_at) VALUES (?,?,?,?,?,?)",
    "UPDATE payments SET balance = balance - ?2, last_tx = ?3, status ="
        " CASE WHEN balance = ?2 THEN 'CANCELED' ELSE 'PARTIAL_CANCELED' END"
        " WHERE payment_key = ?1 AND balance >= ?2"
        " AND status IN ('DONE', 'PARTIAL_CANCELED')",
    "SELECT tx, amount, left, reason, canceled_at FROM cancels"
        " WHERE payment_key = ? ORDER BY seq",
    "SELECT status, body FROM idempotency WHERE scope = ?"
        " AND created_at > ?",
    "INSERT OR REPLACE INTO idempotency (scope, status, body, created_at)"
        " VALUES (?,?,?,?)",
    "DELETE FROM idempotency WHERE created_at <= ?",
    "SELECT " PGSIM_COLUMNS " FROM payments WHERE ?1 IS NULL OR order_id = ?1"
        " ORDER BY requested_at, payment_key",
    "SELECT c.tx, c.amount, c.left, c.reason, c.canceled_at, c.payment_key,"
        " p.order_id FROM cancels c JOIN payments p USING (payment_key)"
        " WHERE ?1 IS NULL OR p.order_id = ?1 ORDER BY c.seq"
};


static sqlite3_stmt *pgsim_ledger_stmt(pgsim_ledger_t *l, pgsim_stmt_e s);
static int pgsim_ledger_run(pgsim_ledger_t *l, pgsim_stmt_e s);
static int pgsim_ledger_find(pgsim_ledger_t *l, pgsim_stmt_e s,
    const char *value, int64_t now, pgsim_payment_t *p);
static void pgsim_ledger_row(sqlite3_stmt *st, int64_t now,
    pgsim_payment_t *p);
static void pgsim_ledger_copy(sqlite3_stmt *st, int col, char *buf,
    size_t size);
static json_t *pgsim_ledger_dump_payments(pgsim_ledger_t *l,
    const char *order_id, int approved);
static json_t *pgsim_ledger_dump_cancels(pgsim_ledger_t *l,
    const char *order_id);


pgsim_ledger_t *
pgsim_ledger_open(const char *path, char *err, size_t errlen)
{
    int              i;
    pgsim_ledger_t  *l;

    l = calloc(1, sizeof(pgsim_ledger_t));
    if (l == NULL) {
        snprintf(err, errlen, "out of memory");
        return NULL;
    }

    pthread_mutex_init(&l->lock, NULL);

    if (sqlite3_open(path, &l->db) != SQLITE_OK
        || sqlite3_busy_timeout(l->db, 5000) != SQLITE_OK
        || sqlite3_exec(l->db, pgsim_schema, NULL, NULL, NULL) != SQLITE_OK)
    {
        goto failed;
    }

    for (i = 0; i < PGSIM_S_MAX; i++) {
        if (sqlite3_prepare_v3(l->db, pgsim_sql[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &l->stmt[i], NULL)
            != SQLITE_OK)
        {
            goto failed;
        }
    }

    sqlite3_bind_int64(l->stmt[PGSIM_S_IDEM_PURGE], 1,
                       opay_now_ms() - PGSIM_IDEM_DAYS * 86400000LL);

    if (pgsim_ledger_run(l, PGSIM_S_IDEM_PURGE) != OPAY_OK) {
        goto failed;
    }

    return l;

failed:

    snprintf(err, errlen, "%s", sqlite3_errmsg(l->db));
    pgsim_ledger_close(l);

    return NULL;
}


void
pgsim_ledger_close(pgsim_ledger_t *l)
{
    int  i;

    for (i = 0; i < PGSIM_S_MAX; i++) {
        sqlite3_finalize(l->stmt[i]);
    }

    sqlite3_close(l->db);
    pthread_mutex_destroy(&l->lock);
    free(l);
}


static sqlite3_stmt *
pgsim_ledger_stmt(pgsim_ledger_t *l, pgsim_stmt_e s)
{
    sqlite3_reset(l->stmt[s]);
    sqlite3_clear_bindings(l->stmt[s]);

    return l->stmt[s];
}


static int
pgsim_ledger_run(pgsim_ledger_t *l, pgsim_stmt_e s)
{
    int  rc;

    rc = sqlite3_step(l->stmt[s]);
    sqlite3_reset(l->stmt[s]);

    if (rc != SQLITE_DONE) {
        fprintf(stderr, "pgsim: ledger: %s\n", sqlite3_errmsg(l->db));
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


int
pgsim_ledger_begin(pgsim_ledger_t *l)
{
    pthread_mutex_lock(&l->lock);

    if (pgsim_ledger_run(l, PGSIM_S_BEGIN) != OPAY_OK) {
        pthread_mutex_unlock(&l->lock);
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


int
pgsim_ledger_commit(pgsim_ledger_t *l)
{
    if (pgsim_ledger_run(l, PGSIM_S_COMMIT) != OPAY_OK) {
        pgsim_ledger_rollback(l);
        return OPAY_ERROR;
    }

    pthread_mutex_unlock(&l->lock);

    return OPAY_OK;
}


void
pgsim_ledger_rollback(pgsim_ledger_t *l)
{
    (void) pgsim_ledger_run(l, PGSIM_S_ROLLBACK);
    pthread_mutex_unlock(&l->lock);
}


int
pgsim_ledger_by_order(pgsim_ledger_t *l, const char *order_id, int64_t now,
    pgsim_payment_t *p)
{
    return pgsim_ledger_find(l, PGSIM_S_BY_ORDER, order_id, now, p);
}


int
pgsim_ledger_by_key(pgsim_ledger_t *l, const char *payment_key, int64_t now,
    pgsim_payment_t *p)
{
    return pgsim_ledger_find(l, PGSIM_S_BY_KEY, payment_key, now, p);
}


static int
pgsim_ledger_find(pgsim_ledger_t *l, pgsim_stmt_e s, const char *value,
    int64_t now, pgsim_payment_t *p)
{
    int            rc;
    sqlite3_stmt  *st;

    st = pgsim_ledger_stmt(l, s);
    sqlite3_bind_text(st, 1, value, -1, SQLITE_STATIC);

    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        pgsim_ledger_row(st, now, p);
    }

    sqlite3_reset(st);

    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : OPAY_ERROR;
}


static void
pgsim_ledger_row(sqlite3_stmt *st, int64_t now, pgsim_payment_t *p)
{
    pgsim_ledger_copy(st, 0, p->payment_key, sizeof(p->payment_key));
    pgsim_ledger_copy(st, 1, p->order_id, sizeof(p->order_id));
    pgsim_ledger_copy(st, 2, p->token, sizeof(p->token));
    pgsim_ledger_copy(st, 3, p->status, sizeof(p->status));
    p->amount = sqlite3_column_int64(st, 4);
    p->balance = sqlite3_column_int64(st, 5);
    pgsim_ledger_copy(st, 6, p->failure_code, sizeof(p->failure_code));
    pgsim_ledger_copy(st, 7, p->last_tx, sizeof(p->last_tx));
    p->requested_at = sqlite3_column_int64(st, 8);
    p->approved_at = sqlite3_column_int64(st, 9);
    p->expires_at = sqlite3_column_int64(st, 10);

    /* a session dies by the clock alone; nothing is written for it */

    if (strcmp(p->status, "IN_PROGRESS") == 0 && now >= p->expires_at) {
        snprintf(p->status, sizeof(p->status), "EXPIRED");
    }
}


static void
pgsim_ledger_copy(sqlite3_stmt *st, int col, char *buf, size_t size)
{
    const unsigned char  *s;

    s = sqlite3_column_text(st, col);

    snprintf(buf, size, "%s", s ? (const char *) s : "");
}


int
pgsim_ledger_put(pgsim_ledger_t *l, const pgsim_payment_t *p)
{
    sqlite3_stmt  *st;

    st = pgsim_ledger_stmt(l, PGSIM_S_PUT);

    sqlite3_bind_text(st, 1, p->payment_key, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, p->order_id, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, p->token, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, p->status, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 5, p->amount);
    sqlite3_bind_int64(st, 6, p->balance);
    sqlite3_bind_text(st, 7, p->failure_code, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 8, p->last_tx, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 9, p->requested_at);
    sqlite3_bind_int64(st, 10, p->approved_at);
    sqlite3_bind_int64(st, 11, p->expires_at);

    return pgsim_ledger_run(l, PGSIM_S_PUT);
}


int
pgsim_ledger_cancel(pgsim_ledger_t *l, const char *payment_key,
    const char *tx, int64_t amount, int64_t left, const char *reason,
    int64_t now)
{
    sqlite3_stmt  *st;

    st = pgsim_ledger_stmt(l, PGSIM_S_BALANCE);
    sqlite3_bind_text(st, 1, payment_key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, amount);
    sqlite3_bind_text(st, 3, tx, -1, SQLITE_STATIC);

    if (pgsim_ledger_run(l, PGSIM_S_BALANCE) != OPAY_OK
        || sqlite3_changes(l->db) != 1)
    {
        return OPAY_ERROR;
    }

    st = pgsim_ledger_stmt(l, PGSIM_S_CANCEL);
    sqlite3_bind_text(st, 1, tx, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, payment_key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, amount);
    sqlite3_bind_int64(st, 4, left);
    sqlite3_bind_text(st, 5, reason, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 6, now);

    return pgsim_ledger_run(l, PGSIM_S_CANCEL);
}


json_t *
pgsim_ledger_cancels(pgsim_ledger_t *l, const char *payment_key)
{
    char           buf[32];
    json_t        *list;
    sqlite3_stmt  *st;

    list = json_array();

    st = pgsim_ledger_stmt(l, PGSIM_S_CANCELS);
    sqlite3_bind_text(st, 1, payment_key, -1, SQLITE_STATIC);

    while (sqlite3_step(st) == SQLITE_ROW) {
        json_array_append_new(list, json_pack(
            "{s:s, s:I, s:I, s:s, s:s, s:i, s:i, s:s}",
            "transactionKey", sqlite3_column_text(st, 0),
            "cancelAmount", (json_int_t) sqlite3_column_int64(st, 1),
            "refundableAmount", (json_int_t) sqlite3_column_int64(st, 2),
            "cancelReason", sqlite3_column_text(st, 3),
            "canceledAt", pgsim_time(sqlite3_column_int64(st, 4), buf),
            "taxFreeAmount", 0, "easyPayDiscountAmount", 0,
            "cancelStatus", "DONE"));
    }

    sqlite3_reset(st);

    return list;
}


int
pgsim_ledger_idem_get(pgsim_ledger_t *l, const char *scope, int64_t now,
    int *status, char **body)
{
    int            rc;
    sqlite3_stmt  *st;

    st = pgsim_ledger_stmt(l, PGSIM_S_IDEM_GET);
    sqlite3_bind_text(st, 1, scope, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, now - PGSIM_IDEM_DAYS * 86400000LL);

    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *status = sqlite3_column_int(st, 0);
        *body = strdup((const char *) sqlite3_column_text(st, 1));
    }

    sqlite3_reset(st);

    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : OPAY_ERROR;
}


int
pgsim_ledger_idem_put(pgsim_ledger_t *l, const char *scope, int status,
    const char *body, int64_t now)
{
    sqlite3_stmt  *st;

    st = pgsim_ledger_stmt(l, PGSIM_S_IDEM_PUT);
    sqlite3_bind_text(st, 1, scope, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, status);
    sqlite3_bind_text(st, 3, body, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, now);

    return pgsim_ledger_run(l, PGSIM_S_IDEM_PUT);
}


json_t *
pgsim_ledger_dump(pgsim_ledger_t *l, const char *order_id)
{
    json_t  *o;

    if (pgsim_ledger_begin(l) != OPAY_OK) {
        return NULL;
    }

    o = json_pack("{s:o, s:o, s:o}",
                  "approvals", pgsim_ledger_dump_payments(l, order_id, 1),
                  "cancels", pgsim_ledger_dump_cancels(l, order_id),
                  "others", pgsim_ledger_dump_payments(l, order_id, 0));

    pgsim_ledger_rollback(l);

    return o;
}


static json_t *
pgsim_ledger_dump_payments(pgsim_ledger_t *l, const char *order_id,
    int approved)
{
    char              buf[32];
    json_t           *list;
    sqlite3_stmt     *st;
    pgsim_payment_t   p;

    list = json_array();

    st = pgsim_ledger_stmt(l, PGSIM_S_DUMP_PAYMENTS);
    sqlite3_bind_text(st, 1, order_id, -1, SQLITE_STATIC);

    while (sqlite3_step(st) == SQLITE_ROW) {
        pgsim_ledger_row(st, opay_now_ms(), &p);

        if ((p.approved_at != 0) != approved) {
            continue;
        }

        json_array_append_new(list, json_pack(
            "{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s?}",
            "paymentKey", p.payment_key, "orderId", p.order_id,
            "token", p.token, "status", p.status,
            "amount", (json_int_t) p.amount,
            "balance", (json_int_t) p.balance,
            "currency", "KRW", "transactionKey", p.last_tx,
            "approvedAt", approved ? pgsim_time(p.approved_at, buf) : NULL));
    }

    sqlite3_reset(st);

    return list;
}


static json_t *
pgsim_ledger_dump_cancels(pgsim_ledger_t *l, const char *order_id)
{
    char           buf[32];
    json_t        *list;
    sqlite3_stmt  *st;

    list = json_array();

    st = pgsim_ledger_stmt(l, PGSIM_S_DUMP_CANCELS);
    sqlite3_bind_text(st, 1, order_id, -1, SQLITE_STATIC);

    while (sqlite3_step(st) == SQLITE_ROW) {
        json_array_append_new(list, json_pack(
            "{s:s, s:I, s:I, s:s, s:s, s:s, s:s}",
            "transactionKey", sqlite3_column_text(st, 0),
            "amount", (json_int_t) sqlite3_column_int64(st, 1),
            "refundable", (json_int_t) sqlite3_column_int64(st, 2),
            "reason", sqlite3_column_text(st, 3),
            "canceledAt", pgsim_time(sqlite3_column_int64(st, 4), buf),
            "paymentKey", sqlite3_column_text(st, 5),
            "orderId", sqlite3_column_text(st, 6)));
    }

    sqlite3_reset(st);

    return list;
}


char *
pgsim_time(int64_t ms, char *buf)
{
    time_t     t;
    struct tm  tm;

    t = ms / 1000 + 9 * 3600;

    gmtime_r(&t, &tm);
    strftime(buf, 32, "%Y-%m-%dT%H:%M:%S+09:00", &tm);

    return buf;
}
