
/*
 * DESIGN
 *
 * Prepared statements of one connection, found by their SQL: by the address
 * of its parts first, which are string constants, then by its text.  A
 * statement keeps its parameter and column bindings, so executing it again
 * allocates nothing but the copy of the result in the caller's arena.
 */

#include <stdio.h>
#include <stdlib.h>

#include "opay_db_priv.h"


typedef struct {
    int64_t           i64;
    unsigned long     len;
    opay_db_bool_t    null;
    opay_db_bool_t    error;
    char              buf[OPAY_DB_COLUMN];
} opay_db_column_t;


/* What a text is made of: head, n times row joined by ",", tail. */
typedef struct {
    const char       *head;
    const char       *row;             /* NULL: head is all */
    const char       *tail;
    size_t            n;
} opay_db_text_key_t;


struct opay_db_stmt_s {
    opay_db_text_key_t   key;
    char                *sql;
    MYSQL_STMT          *st;
    size_t               nparams;
    MYSQL_BIND          *params;
    size_t               ncols;
    MYSQL_BIND          *cols;
    opay_db_column_t    *values;
    opay_db_stmt_t      *next;
};


static opay_db_rc_t opay_db_stmt_get(opay_db_t *db,
    const opay_db_text_key_t *key, opay_db_stmt_t **stmt);
static char *opay_db_stmt_text(const opay_db_text_key_t *key);
static opay_db_rc_t opay_db_stmt_prepare(opay_db_t *db, opay_db_stmt_t *s);
static int opay_db_stmt_columns(opay_db_stmt_t *s);
static void opay_db_stmt_free(opay_db_stmt_t *s);
static opay_db_rc_t opay_db_stmt_failed(opay_db_t *db, opay_db_stmt_t *s);
static opay_db_rc_t opay_db_stmt_run(opay_db_t *db, opay_db_stmt_t *s,
    const opay_db_value_t *params, size_t n);
static opay_db_rc_t opay_db_stmt_fetch(opay_db_t *db, opay_db_stmt_t *s,
    opay_arena_t *a, opay_db_result_t *res);
static int opay_db_stmt_copy(opay_db_stmt_t *s, opay_arena_t *a,
    opay_db_value_t *v);
static opay_db_rc_t opay_db_run_query(opay_db_t *db, opay_arena_t *a,
    const opay_db_text_key_t *key, const opay_db_value_t *params, size_t n,
    opay_db_result_t *res);
static opay_db_rc_t opay_db_memory(opay_db_t *db);


opay_db_rc_t
opay_db_exec(opay_db_t *db, const char *sql, const opay_db_value_t *params,
    size_t n, uint64_t *affected)
{
    opay_db_rc_t        rc;
    opay_db_stmt_t     *s;
    opay_db_text_key_t  key;

    key = (opay_db_text_key_t) { sql, NULL, NULL, 0 };

    rc = opay_db_stmt_get(db, &key, &s);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = opay_db_stmt_run(db, s, params, n);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    db->insert_id = mysql_stmt_insert_id(s->st);

    if (affected) {
        *affected = mysql_stmt_affected_rows(s->st);
    }

    if (s->ncols) {
        (void) mysql_stmt_free_result(s->st);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
opay_db_query(opay_db_t *db, opay_arena_t *a, const char *sql,
    const opay_db_value_t *params, size_t n, opay_db_result_t *res)
{
    opay_db_text_key_t  key;

    key = (opay_db_text_key_t) { sql, NULL, NULL, 0 };

    return opay_db_run_query(db, a, &key, params, n, res);
}


opay_db_rc_t
opay_db_exec_rows(opay_db_t *db, const char *head, const char *row,
    const char *tail, const opay_db_value_t *params, size_t cols, size_t rows,
    uint64_t *affected)
{
    size_t              chunk;
    opay_db_rc_t        rc;
    opay_db_stmt_t     *s;
    opay_db_text_key_t  key;

    if (affected) {
        *affected = 0;
    }

    for (chunk = 64; rows; /* void */) {

        if (chunk > rows) {
            chunk /= 2;
            continue;
        }

        key = (opay_db_text_key_t) { head, row, tail, chunk };

        rc = opay_db_stmt_get(db, &key, &s);

        if (rc == OPAY_DB_OK) {
            rc = opay_db_stmt_run(db, s, params, chunk * cols);
        }

        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (affected) {
            *affected += mysql_stmt_affected_rows(s->st);
        }

        params += chunk * cols;
        rows -= chunk;
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
opay_db_query_in(opay_db_t *db, opay_arena_t *a, const char *head,
    const char *tail, const opay_db_value_t *ids, size_t n,
    opay_db_result_t *res)
{
    char                open[512], close[1024];
    size_t              i, chunk, done;
    opay_db_rc_t        rc;
    opay_db_value_t     padded[64], *v;
    opay_db_result_t    part;
    opay_db_text_key_t  key;

    memset(res, 0, sizeof(opay_db_result_t));

    if ((size_t) snprintf(open, sizeof(open), "%s(", head) >= sizeof(open)
        || (size_t) snprintf(close, sizeof(close), ")%s", tail)
           >= sizeof(close))
    {
        return opay_db_memory(db);
    }

    for (done = 0; done < n; done += 64) {

        for (chunk = 1; chunk < n - done && chunk < 64; chunk *= 2) {
            /* void */
        }

        for (i = 0; i < chunk; i++) {
            padded[i] = ids[done + i < n ? done + i : n - 1];
        }

        key = (opay_db_text_key_t) { open, "?", close, chunk };

        rc = opay_db_run_query(db, a, &key, padded, chunk, &part);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        if (res->rows == 0) {
            *res = part;
            continue;
        }

        v = opay_arena_alloc(a, (res->rows + part.rows) * part.cols
                                * sizeof(opay_db_value_t));
        if (v == NULL) {
            return opay_db_memory(db);
        }

        memcpy(v, res->v, res->rows * res->cols * sizeof(opay_db_value_t));

        if (part.rows) {
            memcpy(v + res->rows * res->cols, part.v,
                   part.rows * part.cols * sizeof(opay_db_value_t));
        }

        res->v = v;
        res->rows += part.rows;
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
opay_db_run_query(opay_db_t *db, opay_arena_t *a,
    const opay_db_text_key_t *key, const opay_db_value_t *params, size_t n,
    opay_db_result_t *res)
{
    opay_db_rc_t     rc;
    opay_db_stmt_t  *s;

    memset(res, 0, sizeof(opay_db_result_t));

    rc = opay_db_stmt_get(db, key, &s);

    if (rc == OPAY_DB_OK) {
        rc = opay_db_stmt_run(db, s, params, n);
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = opay_db_stmt_fetch(db, s, a, res);

    if (rc == OPAY_DB_OK) {
        (void) mysql_stmt_free_result(s->st);
    }

    return rc;
}


static opay_db_rc_t
opay_db_stmt_get(opay_db_t *db, const opay_db_text_key_t *key,
    opay_db_stmt_t **stmt)
{
    char            *sql;
    uint32_t         hash;
    const char      *p;
    opay_db_rc_t     rc;
    opay_db_stmt_t  *s, **bucket;

    rc = opay_db_ready(db);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    sql = opay_db_stmt_text(key);
    if (sql == NULL) {
        return opay_db_memory(db);
    }

    for (hash = 2166136261u, p = sql; *p; p++) {
        hash = (hash ^ (unsigned char) *p) * 16777619u;
    }

    bucket = &db->stmts[hash % OPAY_DB_BUCKETS];

    for (s = *bucket; s; s = s->next) {
        if (strcmp(s->sql, sql) == 0) {
            break;
        }
    }

    if (s) {
        if (key->row) {
            free(sql);
        }

        *stmt = s;
        return OPAY_DB_OK;
    }

    s = calloc(1, sizeof(opay_db_stmt_t));

    if (s == NULL) {
        goto failed;
    }

    s->key = *key;
    s->sql = key->row ? sql : strdup(sql);

    if (s->sql == NULL) {
        free(s);
        goto failed;
    }

    rc = opay_db_stmt_prepare(db, s);

    if (rc != OPAY_DB_OK) {
        return rc;                         /* s is freed */
    }

    s->next = *bucket;
    *bucket = s;
    *stmt = s;

    return OPAY_DB_OK;

failed:

    if (key->row) {
        free(sql);
    }

    return opay_db_memory(db);
}


/* The text: head itself when it is all, else allocated. */

static char *
opay_db_stmt_text(const opay_db_text_key_t *key)
{
    char    *sql, *p;
    size_t   i, hlen, rlen, tlen;

    if (key->row == NULL) {
        return (char *) key->head;
    }

    hlen = strlen(key->head);
    rlen = strlen(key->row);
    tlen = strlen(key->tail);

    sql = malloc(hlen + key->n * (rlen + 1) + tlen + 1);
    if (sql == NULL) {
        return NULL;
    }

    memcpy(sql, key->head, hlen);
    p = sql + hlen;

    for (i = 0; i < key->n; i++) {

        if (i) {
            *p++ = ',';
        }

        memcpy(p, key->row, rlen);
        p += rlen;
    }

    memcpy(p, key->tail, tlen + 1);

    return sql;
}


static opay_db_rc_t
opay_db_stmt_prepare(opay_db_t *db, opay_db_stmt_t *s)
{
    opay_db_rc_t  rc;

    s->st = mysql_stmt_init(db->my);

    if (s->st == NULL) {
        opay_db_stmt_free(s);
        return opay_db_memory(db);
    }

    if (mysql_stmt_prepare(s->st, s->sql, strlen(s->sql)) != 0) {
        unsigned  err;
        char      state[8];

        err = mysql_stmt_errno(s->st);
        (void) snprintf(state, sizeof(state), "%s",
                        mysql_stmt_sqlstate(s->st));
        opay_db_stmt_free(s);
        rc = opay_db_failed(db, err, state);

        return rc;
    }

    s->nparams = mysql_stmt_param_count(s->st);
    s->params = calloc(s->nparams ? s->nparams : 1, sizeof(MYSQL_BIND));

    if (s->params == NULL || opay_db_stmt_columns(s) != OPAY_OK) {
        opay_db_stmt_free(s);
        return opay_db_memory(db);
    }

    return OPAY_DB_OK;
}


static int
opay_db_stmt_columns(opay_db_stmt_t *s)
{
    size_t             i;
    MYSQL_RES         *meta;
    MYSQL_BIND        *b;
    MYSQL_FIELD       *f;
    opay_db_column_t  *c;

    meta = mysql_stmt_result_metadata(s->st);

    if (meta == NULL) {
        return OPAY_OK;                    /* no result */
    }

    s->ncols = mysql_num_fields(meta);
    s->cols = calloc(s->ncols, sizeof(MYSQL_BIND));
    s->values = calloc(s->ncols, sizeof(opay_db_column_t));

    if (s->cols == NULL || s->values == NULL) {
        mysql_free_result(meta);
        return OPAY_ERROR;
    }

    f = mysql_fetch_fields(meta);

    for (i = 0; i < s->ncols; i++) {
        b = &s->cols[i];
        c = &s->values[i];

        b->is_null = &c->null;
        b->length = &c->len;
        b->error = &c->error;

        switch (f[i].type) {

        case MYSQL_TYPE_TINY:
        case MYSQL_TYPE_SHORT:
        case MYSQL_TYPE_INT24:
        case MYSQL_TYPE_LONG:
        case MYSQL_TYPE_LONGLONG:
        case MYSQL_TYPE_YEAR:
            b->buffer_type = MYSQL_TYPE_LONGLONG;
            b->buffer = &c->i64;
            b->is_unsigned = (f[i].flags & UNSIGNED_FLAG) ? 1 : 0;
            break;

        default:
            b->buffer_type = MYSQL_TYPE_STRING;
            b->buffer = c->buf;
            b->buffer_length = OPAY_DB_COLUMN;
            break;
        }
    }

    mysql_free_result(meta);

    return OPAY_OK;
}


static void
opay_db_stmt_free(opay_db_stmt_t *s)
{
    if (s->st) {
        (void) mysql_stmt_close(s->st);
    }

    free(s->sql);
    free(s->params);
    free(s->cols);
    free(s->values);
    free(s);
}


void
opay_db_stmt_free_all(opay_db_t *db)
{
    size_t           i;
    opay_db_stmt_t  *s, *next;

    for (i = 0; i < OPAY_DB_BUCKETS; i++) {
        for (s = db->stmts[i]; s; s = next) {
            next = s->next;
            opay_db_stmt_free(s);
        }

        db->stmts[i] = NULL;
    }
}


/* A lost connection frees s. */

static opay_db_rc_t
opay_db_stmt_failed(opay_db_t *db, opay_db_stmt_t *s)
{
    char      state[8];
    unsigned  err;

    err = mysql_stmt_errno(s->st);
    (void) snprintf(state, sizeof(state), "%s", mysql_stmt_sqlstate(s->st));

    return opay_db_failed(db, err, state);
}


static opay_db_rc_t
opay_db_stmt_run(opay_db_t *db, opay_db_stmt_t *s,
    const opay_db_value_t *params, size_t n)
{
    size_t       i;
    MYSQL_BIND  *b;

    if (n != s->nparams) {
        db->err = 0;
        (void) snprintf(db->error, sizeof(db->error),
                        "%zu parameters for a statement with %zu", n,
                        s->nparams);
        return OPAY_DB_ERROR;
    }

    memset(s->params, 0, n * sizeof(MYSQL_BIND));

    for (i = 0; i < n; i++) {
        b = &s->params[i];

        switch (params[i].type) {

        case OPAY_DB_NULL:
            b->buffer_type = MYSQL_TYPE_NULL;
            break;

        case OPAY_DB_I64:
            b->buffer_type = MYSQL_TYPE_LONGLONG;
            b->buffer = (void *) &params[i].i64;
            break;

        default:
            b->buffer_type = (params[i].type == OPAY_DB_TEXT)
                             ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
            b->buffer = (void *) params[i].bytes.data;
            b->buffer_length = params[i].bytes.len;
            break;
        }
    }

    if ((n && mysql_stmt_bind_param(s->st, s->params) != 0)
        || mysql_stmt_execute(s->st) != 0)
    {
        return opay_db_stmt_failed(db, s);
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
opay_db_stmt_fetch(opay_db_t *db, opay_db_stmt_t *s, opay_arena_t *a,
    opay_db_result_t *res)
{
    int     rc;
    size_t  row;

    if (s->ncols == 0) {
        return OPAY_DB_OK;
    }

    if (mysql_stmt_bind_result(s->st, s->cols) != 0
        || mysql_stmt_store_result(s->st) != 0)
    {
        return opay_db_stmt_failed(db, s);
    }

    res->cols = s->ncols;
    res->rows = mysql_stmt_num_rows(s->st);

    if (res->rows == 0) {
        return OPAY_DB_OK;
    }

    res->v = opay_arena_alloc(a, res->rows * res->cols
                                 * sizeof(opay_db_value_t));
    if (res->v == NULL) {
        goto memory;
    }

    for (row = 0; row < res->rows; row++) {

        rc = mysql_stmt_fetch(s->st);

        if (rc != 0 && rc != MYSQL_DATA_TRUNCATED) {
            return opay_db_stmt_failed(db, s);
        }

        if (opay_db_stmt_copy(s, a, &res->v[row * res->cols]) != OPAY_OK) {
            goto memory;
        }
    }

    return OPAY_DB_OK;

memory:

    (void) mysql_stmt_free_result(s->st);

    return opay_db_memory(db);
}


static int
opay_db_stmt_copy(opay_db_stmt_t *s, opay_arena_t *a, opay_db_value_t *v)
{
    char              *p;
    size_t             i;
    MYSQL_BIND         b;
    opay_db_column_t  *c;

    for (i = 0; i < s->ncols; i++, v++) {

        c = &s->values[i];
        memset(v, 0, sizeof(opay_db_value_t));

        if (c->null) {
            continue;
        }

        if (s->cols[i].buffer_type == MYSQL_TYPE_LONGLONG) {
            v->type = OPAY_DB_I64;
            v->i64 = c->i64;
            continue;
        }

        p = opay_arena_alloc(a, c->len + 1);
        if (p == NULL) {
            return OPAY_ERROR;
        }

        if (c->len <= OPAY_DB_COLUMN) {
            memcpy(p, c->buf, c->len);

        } else {
            memset(&b, 0, sizeof(MYSQL_BIND));
            b.buffer_type = MYSQL_TYPE_STRING;
            b.buffer = p;
            b.buffer_length = c->len;
            b.length = &c->len;
            b.is_null = &c->null;
            b.error = &c->error;

            if (mysql_stmt_fetch_column(s->st, &b, i, 0) != 0) {
                return OPAY_ERROR;
            }
        }

        p[c->len] = '\0';

        v->type = OPAY_DB_BYTES;
        v->bytes.data = p;
        v->bytes.len = c->len;
    }

    return OPAY_OK;
}


static opay_db_rc_t
opay_db_memory(opay_db_t *db)
{
    db->err = 0;
    (void) snprintf(db->error, sizeof(db->error), "out of memory");

    return OPAY_DB_ERROR;
}
