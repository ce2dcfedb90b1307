
/*
 * opay_db: a MySQL/MariaDB connection with prepared statements kept on it.
 *
 * DESIGN
 *
 * One opay_db_t belongs to one thread for its whole life (a pool thread, or
 * the sidecar's loop).  It connects lazily, on the first statement, and again
 * after the connection was lost.  A statement is prepared the first time its
 * SQL text is seen on a connection and kept until the connection dies, so
 * callers pass SQL as string constants (or texts that repeat).
 *
 * Session: utf8mb4, READ COMMITTED, strict sql_mode, time limits on connect,
 * read, write and lock wait.  SQL is valid on MySQL 8.0+/9 and MariaDB 10.11+,
 * through the API that libmariadb and libmysqlclient share.
 *
 * Nothing is retried here.  Who owns the transaction (ngx_opay_exec, the
 * sidecar) decides, by the class of the return code.
 */

#ifndef OPAY_DB_H_INCLUDED
#define OPAY_DB_H_INCLUDED

#include "opay_base.h"


typedef enum {
    OPAY_DB_OK = 0,
    OPAY_DB_DUP,          /* 1062: unique key; the statement did nothing */
    OPAY_DB_CONSTRAINT,   /* CHECK, FK, NOT NULL, out of range, too long */
    OPAY_DB_RETRY,        /* 1205, 1213, 1020: roll back, run again */
    OPAY_DB_LOST,         /* connection lost before COMMIT was sent */
    OPAY_DB_UNKNOWN,      /* connection lost with COMMIT under way */
    OPAY_DB_DOWN,         /* cannot connect, or the server is read-only */
    OPAY_DB_ERROR,        /* anything else: our SQL, our schema; see error */

    /* never returned by opay_db_*; an operation returns them to its runner */
    OPAY_DB_ROLLBACK,     /* outcome is set; undo what was written for it */
    OPAY_DB_SPLIT         /* undo the batch, run its calls one by one */
} opay_db_rc_t;


/* Strings are NUL-terminated and outlive the connection. */
typedef struct {
    const char  *socket;             /* unix socket path, or NULL */
    const char  *host;               /* used when socket is NULL */
    unsigned     port;
    const char  *user;
    const char  *password;
    const char  *database;
    unsigned     connect_timeout;    /* ms, rounded up to whole seconds */
    unsigned     timeout;            /* ms, one statement's read or write */
    unsigned     lock_timeout;       /* s, innodb_lock_wait_timeout */
} opay_db_conf_t;


typedef struct opay_db_s  opay_db_t;


typedef enum {
    OPAY_DB_NULL = 0,
    OPAY_DB_I64,
    OPAY_DB_BYTES,        /* binary string; all strings of a result */
    OPAY_DB_TEXT          /* parameter only: utf8mb4, collation of a column */
} opay_db_type_e;


/* A parameter, or a column of a result.  Bytes are never NULL with len 0. */
typedef struct {
    opay_db_type_e  type;
    int64_t         i64;             /* OPAY_DB_I64 */
    opay_str_t      bytes;           /* OPAY_DB_BYTES, OPAY_DB_TEXT */
} opay_db_value_t;


typedef struct {
    size_t            rows;
    size_t            cols;
    opay_db_value_t  *v;             /* row-major */
} opay_db_result_t;


/* Does not connect.  NULL: out of memory.  conf must outlive the result. */
opay_db_t *opay_db_create(const opay_db_conf_t *conf);
void opay_db_destroy(opay_db_t *db);

/* The last failure: server errno (0: none) and text without SQL or values. */
unsigned opay_db_errno(opay_db_t *db);
const char *opay_db_error(opay_db_t *db);

/* Name of a return code for logs and metrics: "ok", "dup", "lost", ... */
const char *opay_db_rc_name(opay_db_rc_t rc);

/* Drops the connection; the next statement connects again. */
void opay_db_drop(opay_db_t *db);

/* A round trip; connects when needed.  For readiness probes. */
opay_db_rc_t opay_db_ping(opay_db_t *db);

/*
 * BEGIN is sent with the first statement of the transaction when that saves
 * a round trip.  commit: OPAY_DB_UNKNOWN when the answer did not arrive.
 * rollback never fails visibly: on any trouble it drops the connection.
 */
opay_db_rc_t opay_db_begin(opay_db_t *db);
opay_db_rc_t opay_db_commit(opay_db_t *db);
void opay_db_rollback(opay_db_t *db);

/*
 * A place inside the transaction to come back to; one at a time.  What the
 * server has undone by itself (OPAY_DB_RETRY, _LOST) cannot be come back to.
 */
opay_db_rc_t opay_db_savepoint(opay_db_t *db);
opay_db_rc_t opay_db_rollback_to(opay_db_t *db);

/* affected may be NULL.  Affected counts rows matched (CLIENT_FOUND_ROWS). */
opay_db_rc_t opay_db_exec(opay_db_t *db, const char *sql,
    const opay_db_value_t *params, size_t n, uint64_t *affected);

/* AUTO_INCREMENT id of the last insert on this connection. */
uint64_t opay_db_insert_id(opay_db_t *db);

/* The whole result is copied into the arena. */
opay_db_rc_t opay_db_query(opay_db_t *db, opay_arena_t *a, const char *sql,
    const opay_db_value_t *params, size_t n, opay_db_result_t *res);

/*
 * Multi-row statement: head, then rows copies of row joined by ",", then
 * tail; e.g. "INSERT INTO t (a,b) VALUES ", "(?,?)", "".  Sent in prepared
 * chunks of 64, 32, and 16 to 1 rows, so that few texts are prepared.
 * params holds rows * cols values, row-major.  Call inside a transaction:
 * a failing chunk leaves the earlier chunks of the call in it.
 */
opay_db_rc_t opay_db_exec_rows(opay_db_t *db, const char *head,
    const char *row, const char *tail, const opay_db_value_t *params,
    size_t cols, size_t rows, uint64_t *affected);

/*
 * head "(?,?,...)" tail: a query over n ids, padded to a prepared size (a
 * power of two up to 64, more in chunks; results are concatenated) by
 * repeating the last id.  Rows come in the order the server sends them.
 */
opay_db_rc_t opay_db_query_in(opay_db_t *db, opay_arena_t *a,
    const char *head, const char *tail, const opay_db_value_t *ids, size_t n,
    opay_db_result_t *res);

/*
 * The same for n keys of cols values each: head, row, sep, row, ... tail;
 * e.g. "SELECT ... WHERE ", "(a=? AND b=?)", " OR ", "".
 */
opay_db_rc_t opay_db_query_rows(opay_db_t *db, opay_arena_t *a,
    const char *head, const char *row, const char *sep, const char *tail,
    const opay_db_value_t *params, size_t cols, size_t n,
    opay_db_result_t *res);


static inline opay_db_value_t
opay_db_i64(int64_t v)
{
    return (opay_db_value_t) { OPAY_DB_I64, v, { 0, NULL } };
}


static inline opay_db_value_t
opay_db_bytes(const void *p, size_t n)
{
    return (opay_db_value_t) { OPAY_DB_BYTES, 0,
                               { n, p ? (const char *) p : "" } };
}


static inline opay_db_value_t
opay_db_uuid(const opay_uuid_t *u)
{
    return opay_db_bytes(u->b, 16);
}


static inline opay_db_value_t
opay_db_text(opay_str_t s)
{
    return (opay_db_value_t) { OPAY_DB_TEXT, 0,
                               { s.len, s.data ? s.data : "" } };
}


/* s.data == NULL becomes SQL NULL */
static inline opay_db_value_t
opay_db_text_or_null(opay_str_t s)
{
    return s.data ? opay_db_text(s)
                  : (opay_db_value_t) { OPAY_DB_NULL, 0, { 0, NULL } };
}


static inline opay_db_value_t
opay_db_null(void)
{
    return (opay_db_value_t) { OPAY_DB_NULL, 0, { 0, NULL } };
}


static inline const opay_db_value_t *
opay_db_at(const opay_db_result_t *r, size_t row, size_t col)
{
    return &r->v[row * r->cols + col];
}


static inline int64_t
opay_db_get_i64(const opay_db_result_t *r, size_t row, size_t col)
{
    return opay_db_at(r, row, col)->i64;
}


/* SQL NULL gives data == NULL */
static inline opay_str_t
opay_db_get_str(const opay_db_result_t *r, size_t row, size_t col)
{
    return opay_db_at(r, row, col)->bytes;
}


/* OPAY_ERROR when the column is NULL or not 16 bytes */
static inline int
opay_db_get_uuid(const opay_db_result_t *r, size_t row, size_t col,
    opay_uuid_t *u)
{
    opay_str_t  s;

    s = opay_db_at(r, row, col)->bytes;

    if (s.data == NULL || s.len != 16) {
        return OPAY_ERROR;
    }

    memcpy(u->b, s.data, 16);

    return OPAY_OK;
}


#endif /* OPAY_DB_H_INCLUDED */
