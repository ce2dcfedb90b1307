
/*
 * Statements over many rows: their texts are composed in a few sizes, so
 * that few are prepared; see opay_db.h.
 */

#include <stdlib.h>

#include "opay_db_priv.h"


static size_t opay_db_chunk(size_t rows);
static const char *opay_db_compose(opay_db_t *db, const char *head,
    const char *row, const char *sep, const char *tail, size_t rows);


opay_db_rc_t
opay_db_exec_rows(opay_db_t *db, const char *head, const char *row,
    const char *tail, const opay_db_value_t *params, size_t cols, size_t rows,
    uint64_t *affected)
{
    size_t           n;
    uint64_t         one, sum;
    const char      *sql;
    opay_db_rc_t     rc;
    opay_db_stmt_t  *st;

    sum = 0;

    while (rows) {

        n = opay_db_chunk(rows);

        sql = opay_db_compose(db, head, row, ",", tail, n);
        if (sql == NULL) {
            return opay_db_fault(db, "out of memory");
        }

        st = opay_db_run(db, sql, params, cols, n, n, &rc);
        if (st == NULL) {
            return rc;
        }

        one = mysql_stmt_affected_rows(st->stmt);
        sum += one;
        db->insert_id = mysql_stmt_insert_id(st->stmt);

        if (st->ncols && mysql_stmt_free_result(st->stmt) != 0) {
            return opay_db_failed(db, st->stmt);
        }

        params += n * cols;
        rows -= n;
    }

    if (affected) {
        *affected = sum;
    }

    return OPAY_DB_OK;
}


/*
 * A round trip costs more than a row: the sizes that are common have a text
 * of their own, and no other takes more than three.
 */

static size_t
opay_db_chunk(size_t rows)
{
    if (rows >= OPAY_DB_ROWS_MAX) {
        return OPAY_DB_ROWS_MAX;
    }

    if (rows >= 32) {
        return 32;
    }

    return rows > 16 ? 16 : rows;
}


opay_db_rc_t
opay_db_query_rows(opay_db_t *db, opay_arena_t *a, const char *head,
    const char *row, const char *sep, const char *tail,
    const opay_db_value_t *params, size_t cols, size_t n,
    opay_db_result_t *res)
{
    size_t           real, padded, cap;
    const char      *sql;
    opay_db_rc_t     rc;
    opay_db_stmt_t  *st;

    cap = 0;
    memset(res, 0, sizeof(opay_db_result_t));

    while (n) {

        real = n < OPAY_DB_ROWS_MAX ? n : OPAY_DB_ROWS_MAX;

        for (padded = 1; padded < real; padded *= 2) { /* void */ }

        sql = opay_db_compose(db, head, row, sep, tail, padded);
        if (sql == NULL) {
            return opay_db_fault(db, "out of memory");
        }

        st = opay_db_run(db, sql, params, cols, real, padded, &rc);
        if (st == NULL) {
            return rc;
        }

        rc = opay_db_fetch(db, a, st, res, &cap);
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        params += real * cols;
        n -= real;
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
opay_db_query_in(opay_db_t *db, opay_arena_t *a, const char *head,
    const char *tail, const opay_db_value_t *ids, size_t n,
    opay_db_result_t *res)
{
    size_t        len;
    char         *p, *q;

    /* the parentheses become part of head and tail */

    len = strlen(head);
    p = opay_arena_alloc(a, len + 2);
    q = opay_arena_alloc(a, strlen(tail) + 2);

    if (p == NULL || q == NULL) {
        return opay_db_fault(db, "out of memory");
    }

    memcpy(p, head, len);
    memcpy(p + len, "(", 2);
    q[0] = ')';
    memcpy(q + 1, tail, strlen(tail) + 1);

    return opay_db_query_rows(db, a, p, "?", ",", q, ids, 1, n, res);
}


static const char *
opay_db_compose(opay_db_t *db, const char *head, const char *row,
    const char *sep, const char *tail, size_t rows)
{
    char    *p;
    size_t   i, size, nhead, nrow, nsep, ntail;

    nhead = strlen(head);
    nrow = strlen(row);
    nsep = strlen(sep);
    ntail = strlen(tail);

    size = nhead + rows * (nrow + nsep) + ntail + 1;

    if (size > db->text_size) {
        p = realloc(db->text, size);
        if (p == NULL) {
            return NULL;
        }

        db->text = p;
        db->text_size = size;
    }

    p = db->text;
    memcpy(p, head, nhead);
    p += nhead;

    for (i = 0; i < rows; i++) {

        if (i) {
            memcpy(p, sep, nsep);
            p += nsep;
        }

        memcpy(p, row, nrow);
        p += nrow;
    }

    memcpy(p, tail, ntail + 1);

    return db->text;
}
