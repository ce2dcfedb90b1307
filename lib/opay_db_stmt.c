
/*
 * Prepared statements of opay_db: the cache, parameters and results.
 *
 * DESIGN
 *
 * Statements hang in a hash table by their text and live as long as the
 * connection.  A small table by the caller's pointer comes before it, whose
 * hits are still compared with the text.  Texts are few; should a caller
 * compose them without end, the cache is emptied when it is full.
 *
 * Parameters: OPAY_DB_TEXT goes as text, so that it compares by the column's
 * collation, OPAY_DB_BYTES as binary.
 *
 * Results are read row by row, each value into a buffer of its column; what
 * does not fit is fetched a second time, into the arena.  A result is always
 * read to its end.
 */

#include <stdlib.h>

#include "opay_db_priv.h"


#define OPAY_DB_INLINE   512           /* bytes of a column at first fetch */
#define OPAY_DB_ROWS     16            /* first guess */

#define opay_db_bucket(hash)  ((hash) & (OPAY_DB_BUCKETS - 1))


static opay_db_stmt_t *opay_db_stmt_get(opay_db_t *db, const char *sql,
    opay_db_rc_t *rc);
static opay_db_stmt_t *opay_db_stmt_prepare(opay_db_t *db, const char *sql,
    size_t len, uint64_t hash, opay_db_rc_t *rc);
static int opay_db_stmt_columns(opay_db_stmt_t *st);
static unsigned opay_db_is_number(const MYSQL_FIELD *f);
static void opay_db_stmt_free(opay_db_stmt_t *st);
static opay_db_rc_t opay_db_bind(opay_db_t *db, opay_db_stmt_t *st,
    const opay_db_value_t *params, size_t cols, size_t n, size_t padded);
static opay_db_value_t *opay_db_row(opay_arena_t *a, opay_db_result_t *res,
    size_t *cap);
static int opay_db_value(opay_arena_t *a, opay_db_stmt_t *st, size_t i,
    opay_db_value_t *v);


void
opay_db_stmts_close(opay_db_t *db)
{
    size_t           i;
    opay_db_stmt_t  *st, *next;

    for (i = 0; i < OPAY_DB_BUCKETS; i++) {

        for (st = db->stmts[i]; st; st = next) {
            next = st->next;
            opay_db_stmt_free(st);
        }

        db->stmts[i] = NULL;
    }

    memset(db->fast, 0, sizeof(db->fast));
    db->nstmts = 0;
}


static void
opay_db_stmt_free(opay_db_stmt_t *st)
{
    size_t  i;

    if (st->stmt) {
        (void) mysql_stmt_close(st->stmt);
    }

    for (i = 0; st->cols && i < st->ncols; i++) {
        free(st->cols[i].buf);
    }

    free(st->cols);
    free(st->binds);
    free(st->sql);
    free(st);
}


static opay_db_stmt_t *
opay_db_stmt_get(opay_db_t *db, const char *sql, opay_db_rc_t *rc)
{
    size_t           len;
    uint64_t         hash;
    const char      *p;
    opay_db_fast_t  *fast;
    opay_db_stmt_t  *st;

    fast = &db->fast[((uintptr_t) sql >> 3) & (OPAY_DB_FAST - 1)];

    if (fast->sql == sql && strcmp(fast->stmt->sql, sql) == 0) {
        return fast->stmt;
    }

    hash = 14695981039346656037ULL;    /* FNV-1a */

    for (p = sql; *p; p++) {
        hash = (hash ^ (unsigned char) *p) * 1099511628211ULL;
    }

    len = (size_t) (p - sql);

    for (st = db->stmts[opay_db_bucket(hash)]; st; st = st->next) {
        if (st->hash == hash && st->len == len
            && memcmp(st->sql, sql, len) == 0)
        {
            break;
        }
    }

    if (st == NULL) {
        st = opay_db_stmt_prepare(db, sql, len, hash, rc);
    }

    if (st) {
        fast->sql = sql;
        fast->stmt = st;
    }

    return st;
}


static opay_db_stmt_t *
opay_db_stmt_prepare(opay_db_t *db, const char *sql, size_t len,
    uint64_t hash, opay_db_rc_t *rc)
{
    opay_db_stmt_t  *st;

    if (db->nstmts == OPAY_DB_STMTS_MAX) {
        opay_db_stmts_close(db);
    }

    st = calloc(1, sizeof(opay_db_stmt_t));
    if (st == NULL) {
        goto memory;
    }

    st->hash = hash;
    st->len = len;
    st->sql = malloc(len + 1);
    st->stmt = mysql_stmt_init(db->mysql);

    if (st->sql == NULL || st->stmt == NULL) {
        goto memory;
    }

    memcpy(st->sql, sql, len + 1);

    if (mysql_stmt_prepare(st->stmt, sql, (unsigned long) len) != 0) {
        *rc = opay_db_failed(db, st->stmt);
        opay_db_stmt_free(st);
        return NULL;
    }

    st->nparams = mysql_stmt_param_count(st->stmt);
    st->ncols = mysql_stmt_field_count(st->stmt);

    if (st->ncols && opay_db_stmt_columns(st) != OPAY_OK) {
        goto memory;
    }

    st->next = db->stmts[opay_db_bucket(hash)];
    db->stmts[opay_db_bucket(hash)] = st;
    db->nstmts++;

    return st;

memory:

    *rc = opay_db_fault(db, "out of memory");

    if (st) {
        opay_db_stmt_free(st);
    }

    return NULL;
}


static int
opay_db_stmt_columns(opay_db_stmt_t *st)
{
    size_t             i;
    MYSQL_RES         *meta;
    MYSQL_BIND        *b;
    MYSQL_FIELD       *f;
    opay_db_column_t  *c;

    st->cols = calloc(st->ncols, sizeof(opay_db_column_t));
    st->binds = calloc(st->ncols, sizeof(MYSQL_BIND));
    meta = mysql_stmt_result_metadata(st->stmt);

    if (st->cols == NULL || st->binds == NULL || meta == NULL) {
        goto failed;
    }

    f = mysql_fetch_fields(meta);

    for (i = 0; i < st->ncols; i++) {

        c = &st->cols[i];
        b = &st->binds[i];

        c->number = opay_db_is_number(&f[i]);
        b->is_null = &c->null;
        b->length = &c->length;
        b->error = &c->truncated;

        if (c->number) {
            b->buffer_type = MYSQL_TYPE_LONGLONG;
            b->is_unsigned = (f[i].flags & UNSIGNED_FLAG) != 0;
            b->buffer = &c->i64;
            b->buffer_length = sizeof(c->i64);
            continue;
        }

        b->buffer_type = MYSQL_TYPE_STRING;
        b->buffer_length = OPAY_DB_INLINE;
        b->buffer = c->buf = malloc(OPAY_DB_INLINE);

        if (c->buf == NULL) {
            goto failed;
        }
    }

    mysql_free_result(meta);

    return OPAY_OK;

failed:

    if (meta) {
        mysql_free_result(meta);
    }

    return OPAY_ERROR;
}


static unsigned
opay_db_is_number(const MYSQL_FIELD *f)
{
    switch (f->type) {

    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        return 1;

    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:        /* SUM() of integers is one */
        return f->decimals == 0;

    default:
        return 0;
    }
}


/*
 * n rows of cols parameters; beyond them the last row is repeated, up to
 * padded rows.
 */

static opay_db_rc_t
opay_db_bind(opay_db_t *db, opay_db_stmt_t *st, const opay_db_value_t *params,
    size_t cols, size_t n, size_t padded)
{
    size_t                  i, j, total;
    MYSQL_BIND             *b;
    const opay_db_value_t  *v;

    total = padded * cols;

    if (total != st->nparams) {
        return opay_db_fault(db, "wrong number of parameters");
    }

    if (total > db->nbinds) {
        b = realloc(db->binds, total * sizeof(MYSQL_BIND));
        if (b == NULL) {
            return opay_db_fault(db, "out of memory");
        }

        db->binds = b;
        db->nbinds = total;
    }

    if (total) {
        memset(db->binds, 0, total * sizeof(MYSQL_BIND));
    }

    for (i = 0, b = db->binds; i < padded; i++) {
        for (j = 0; j < cols; j++, b++) {

            v = &params[(i < n ? i : n - 1) * cols + j];

            switch (v->type) {

            case OPAY_DB_I64:
                b->buffer_type = MYSQL_TYPE_LONGLONG;
                b->buffer = (void *) &v->i64;
                break;

            case OPAY_DB_BYTES:
            case OPAY_DB_TEXT:
                /* text compares by its column's collation, and its index */
                b->buffer_type = (v->type == OPAY_DB_TEXT)
                                 ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
                b->buffer = (void *) v->bytes.data;
                b->buffer_length = (unsigned long) v->bytes.len;
                break;

            default:
                b->buffer_type = MYSQL_TYPE_NULL;
            }
        }
    }

    if (total && mysql_stmt_bind_param(st->stmt, db->binds) != 0) {
        return opay_db_failed(db, st->stmt);
    }

    return OPAY_DB_OK;
}


opay_db_stmt_t *
opay_db_run(opay_db_t *db, const char *sql, const opay_db_value_t *params,
    size_t cols, size_t n, size_t padded, opay_db_rc_t *rc)
{
    opay_db_stmt_t  *st;

    *rc = opay_db_ready(db);
    if (*rc != OPAY_DB_OK) {
        return NULL;
    }

    db->err = 0;
    db->error[0] = '\0';

    st = opay_db_stmt_get(db, sql, rc);
    if (st == NULL) {
        return NULL;
    }

    *rc = opay_db_bind(db, st, params, cols, n, padded);
    if (*rc != OPAY_DB_OK) {
        return NULL;
    }

    if (mysql_stmt_execute(st->stmt) != 0) {
        *rc = opay_db_failed(db, st->stmt);
        return NULL;
    }

    if (mysql_stmt_field_count(st->stmt) != st->ncols) {

        /* "SELECT *" over a table that has been altered */

        opay_db_drop(db);
        (void) opay_db_fault(db, "columns have changed");
        *rc = db->tx_rc = OPAY_DB_LOST;
        return NULL;
    }

    return st;
}


opay_db_rc_t
opay_db_exec(opay_db_t *db, const char *sql, const opay_db_value_t *params,
    size_t n, uint64_t *affected)
{
    opay_db_rc_t     rc;
    opay_db_stmt_t  *st;

    st = opay_db_run(db, sql, params, n, 1, 1, &rc);
    if (st == NULL) {
        return rc;
    }

    db->insert_id = mysql_stmt_insert_id(st->stmt);

    if (affected) {
        *affected = mysql_stmt_affected_rows(st->stmt);
    }

    if (st->ncols && mysql_stmt_free_result(st->stmt) != 0) {
        return opay_db_failed(db, st->stmt);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
opay_db_query(opay_db_t *db, opay_arena_t *a, const char *sql,
    const opay_db_value_t *params, size_t n, opay_db_result_t *res)
{
    size_t           cap;
    opay_db_rc_t     rc;
    opay_db_stmt_t  *st;

    cap = 0;
    memset(res, 0, sizeof(opay_db_result_t));

    st = opay_db_run(db, sql, params, n, 1, 1, &rc);
    if (st == NULL) {
        return rc;
    }

    return opay_db_fetch(db, a, st, res, &cap);
}


opay_db_rc_t
opay_db_fetch(opay_db_t *db, opay_arena_t *a, opay_db_stmt_t *st,
    opay_db_result_t *res, size_t *cap)
{
    int               rc;
    size_t            i;
    opay_db_value_t  *v;

    res->cols = st->ncols;

    if (st->ncols == 0) {
        return OPAY_DB_OK;
    }

    if (mysql_stmt_bind_result(st->stmt, st->binds) != 0) {
        return opay_db_failed(db, st->stmt);
    }

    for ( ;; ) {

        rc = mysql_stmt_fetch(st->stmt);

        if (rc == MYSQL_NO_DATA) {
            break;
        }

        if (rc != 0 && rc != MYSQL_DATA_TRUNCATED) {
            return opay_db_failed(db, st->stmt);
        }

        v = opay_db_row(a, res, cap);

        for (i = 0; v && i < st->ncols; i++) {
            if (opay_db_value(a, st, i, &v[i]) != OPAY_OK) {
                v = NULL;
            }
        }

        if (v == NULL) {
            (void) mysql_stmt_free_result(st->stmt);
            return opay_db_fault(db, "out of memory");
        }
    }

    if (mysql_stmt_free_result(st->stmt) != 0) {
        return opay_db_failed(db, st->stmt);
    }

    return OPAY_DB_OK;
}


static opay_db_value_t *
opay_db_row(opay_arena_t *a, opay_db_result_t *res, size_t *cap)
{
    size_t            n;
    opay_db_value_t  *v;

    if (res->rows == *cap) {

        n = *cap ? *cap * 2 : OPAY_DB_ROWS;

        v = opay_arena_alloc(a, n * res->cols * sizeof(opay_db_value_t));
        if (v == NULL) {
            return NULL;
        }

        if (res->rows) {
            memcpy(v, res->v,
                   res->rows * res->cols * sizeof(opay_db_value_t));
        }

        res->v = v;
        *cap = n;
    }

    return &res->v[res->rows++ * res->cols];
}


static int
opay_db_value(opay_arena_t *a, opay_db_stmt_t *st, size_t i,
    opay_db_value_t *v)
{
    char              *p;
    MYSQL_BIND         b;
    opay_db_column_t  *c;

    c = &st->cols[i];

    if (c->null) {
        *v = opay_db_null();
        return OPAY_OK;
    }

    if (c->number) {
        *v = opay_db_i64(c->i64);
        return OPAY_OK;
    }

    /* NUL-terminated as a courtesy to debuggers; len says what counts */

    p = opay_arena_alloc(a, c->length + 1);
    if (p == NULL) {
        return OPAY_ERROR;
    }

    p[c->length] = '\0';
    *v = opay_db_bytes(p, c->length);

    if (c->length <= OPAY_DB_INLINE) {
        memcpy(p, c->buf, c->length);
        return OPAY_OK;
    }

    b = st->binds[i];
    b.buffer = p;
    b.buffer_length = c->length;

    return mysql_stmt_fetch_column(st->stmt, &b, (unsigned) i, 0) == 0
           ? OPAY_OK : OPAY_ERROR;
}
