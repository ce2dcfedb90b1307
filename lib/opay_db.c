
/*
 * Connection and transaction of opay_db; see opay_db.h.
 *
 * DESIGN
 *
 * A connection is in autocommit mode until its first transaction.  From then
 * on it stays at autocommit=0, where the server begins a transaction with the
 * first statement by itself: a transaction costs one round trip less than
 * with START TRANSACTION.  A statement outside a transaction switches back
 * first.  Connections of a READ lane never leave autocommit mode, those of
 * a WRITE lane hardly ever return to it.
 *
 * tx_rc is the fuse: once the server has lost the transaction (connection
 * gone, deadlock), each further statement and the commit fail with the same
 * code until opay_db_begin() or opay_db_rollback().  So an operation that
 * overlooks a code cannot commit half of its work on a new transaction.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "opay_db_priv.h"


/* Times between a failed connect and the next try, ms. */
#define OPAY_DB_PAUSE_MIN  50
#define OPAY_DB_PAUSE_MAX  2000

#define OPAY_DB_SQL_MODE                                                     \
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"                        \
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY"


static opay_db_rc_t opay_db_connect(opay_db_t *db);
static int opay_db_options(MYSQL *m, const opay_db_conf_t *conf);
static int opay_db_session(opay_db_t *db);
static opay_db_rc_t opay_db_simple(opay_db_t *db, const char *sql);
static int opay_db_interrupted(unsigned err);


static pthread_once_t   opay_db_once = PTHREAD_ONCE_INIT;
static int              opay_db_library;


static void
opay_db_library_init(void)
{
    opay_db_library = mysql_library_init(0, NULL, NULL);
}


opay_db_t *
opay_db_create(const opay_db_conf_t *conf)
{
    opay_db_t  *db;

    db = calloc(1, sizeof(opay_db_t));
    if (db == NULL) {
        return NULL;
    }

    db->conf = conf;

    return db;
}


void
opay_db_destroy(opay_db_t *db)
{
    if (db == NULL) {
        return;
    }

    opay_db_drop(db);

    free(db->binds);
    free(db->text);
    free(db);

    mysql_thread_end();
}


unsigned
opay_db_errno(opay_db_t *db)
{
    return db->err;
}


const char *
opay_db_error(opay_db_t *db)
{
    return db->error;
}


uint64_t
opay_db_insert_id(opay_db_t *db)
{
    return db->insert_id;
}


void
opay_db_drop(opay_db_t *db)
{
    if (db->mysql) {

        /* first, so that closing statements needs no round trip */

        mysql_close(db->mysql);
        db->mysql = NULL;
    }

    opay_db_stmts_close(db);

    if (db->in_tx && db->tx_used && db->tx_rc == OPAY_DB_OK) {
        db->tx_rc = OPAY_DB_LOST;
    }
}


opay_db_rc_t
opay_db_ping(opay_db_t *db)
{
    opay_db_rc_t  rc;

    rc = opay_db_connect(db);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    if (mysql_ping(db->mysql) != 0) {
        return opay_db_failed(db, NULL);
    }

    return OPAY_DB_OK;
}


static opay_db_rc_t
opay_db_connect(opay_db_t *db)
{
    int64_t                start, pause;
    const opay_db_conf_t  *conf;

    if (db->mysql) {
        return OPAY_DB_OK;
    }

    start = opay_mono_ms();

    if (start < db->retry_at) {
        return OPAY_DB_DOWN;
    }

    (void) pthread_once(&opay_db_once, opay_db_library_init);

    if (opay_db_library != 0) {
        return opay_db_fault(db, "the client library does not start");
    }

    conf = db->conf;

    db->mysql = mysql_init(NULL);
    if (db->mysql == NULL) {
        return opay_db_fault(db, "out of memory");
    }

    if (opay_db_options(db->mysql, conf) == OPAY_OK
        && mysql_real_connect(db->mysql, conf->socket ? NULL : conf->host,
                              conf->user, conf->password, conf->database,
                              conf->socket ? 0 : conf->port, conf->socket,
                              CLIENT_FOUND_ROWS)
        && opay_db_session(db) == OPAY_OK)
    {
        db->autocommit = 1;
        db->retry_at = 0;
        return OPAY_DB_OK;
    }

    db->err = mysql_errno(db->mysql);
    opay_db_describe(db->error, sizeof(db->error), db->err,
                     mysql_sqlstate(db->mysql), mysql_error(db->mysql));
    opay_db_drop(db);

    /* a server that lets us wait is asked less often */

    pause = opay_mono_ms() - start;
    pause = pause < OPAY_DB_PAUSE_MIN ? OPAY_DB_PAUSE_MIN : pause;
    pause = pause > OPAY_DB_PAUSE_MAX ? OPAY_DB_PAUSE_MAX : pause;

    db->retry_at = opay_mono_ms() + pause;

    return OPAY_DB_DOWN;
}


static int
opay_db_options(MYSQL *m, const opay_db_conf_t *conf)
{
    unsigned  connect, timeout, protocol, infile;

    connect = (conf->connect_timeout + 999) / 1000;
    timeout = (conf->timeout + 999) / 1000;
    protocol = conf->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    infile = 0;

    if (mysql_options(m, MYSQL_OPT_PROTOCOL, &protocol)
        || mysql_options(m, MYSQL_SET_CHARSET_NAME, "utf8mb4")
        || mysql_options(m, MYSQL_OPT_LOCAL_INFILE, &infile))
    {
        return OPAY_ERROR;
    }

    if (connect && mysql_options(m, MYSQL_OPT_CONNECT_TIMEOUT, &connect)) {
        return OPAY_ERROR;
    }

    if (timeout && (mysql_options(m, MYSQL_OPT_READ_TIMEOUT, &timeout)
                    || mysql_options(m, MYSQL_OPT_WRITE_TIMEOUT, &timeout)))
    {
        return OPAY_ERROR;
    }

    return OPAY_OK;
}


/* All of the session in one statement. */

static int
opay_db_session(opay_db_t *db)
{
    int          n;
    char         sql[512];
    unsigned     lock;
    const char  *isolation, *info;

    info = mysql_get_server_info(db->mysql);

    /* MariaDB took MySQL's name for it in 11.1 */

    isolation = info && strstr(info, "MariaDB")
                && mysql_get_server_version(db->mysql) < 110100
                ? "tx_isolation" : "transaction_isolation";

    lock = db->conf->lock_timeout ? db->conf->lock_timeout : 3;

    n = snprintf(sql, sizeof(sql),
                 "SET SESSION sql_mode='" OPAY_DB_SQL_MODE "',"
                 "%s='READ-COMMITTED',innodb_lock_wait_timeout=%u,"
                 "time_zone='+00:00',autocommit=1", isolation, lock);

    return mysql_real_query(db->mysql, sql, (unsigned long) n) == 0
           ? OPAY_OK : OPAY_ERROR;
}


opay_db_rc_t
opay_db_ready(opay_db_t *db)
{
    opay_db_rc_t  rc;

    if (db->in_tx && db->tx_rc != OPAY_DB_OK) {
        return db->tx_rc;
    }

    rc = opay_db_connect(db);

    if (rc != OPAY_DB_OK) {
        db->tx_rc = rc;
        return rc;
    }

    if (db->in_tx == db->autocommit) {

        rc = opay_db_simple(db, db->in_tx ? "SET autocommit=0"
                                          : "SET autocommit=1");
        if (rc != OPAY_DB_OK) {
            return rc;
        }

        db->autocommit = !db->in_tx;
    }

    db->tx_used = db->in_tx;

    return OPAY_DB_OK;
}


/*
 * KILL QUERY and time limits: the server may say so when it has committed
 * already.
 */

static int
opay_db_interrupted(unsigned err)
{
    return err == 1317 || err == 1969 || err == 3024;
}


static opay_db_rc_t
opay_db_simple(opay_db_t *db, const char *sql)
{
    db->err = 0;

    if (mysql_real_query(db->mysql, sql, strlen(sql)) == 0) {
        return OPAY_DB_OK;
    }

    return opay_db_failed(db, NULL);
}


opay_db_rc_t
opay_db_failed(opay_db_t *db, MYSQL_STMT *stmt)
{
    opay_db_rc_t  rc;

    /*
     * libmariadb leaves an error that comes among the rows, such as a lock
     * wait of a locking read, on the connection only.
     */
    if (stmt && mysql_stmt_errno(stmt)) {
        db->err = mysql_stmt_errno(stmt);
        opay_db_describe(db->error, sizeof(db->error), db->err,
                         mysql_stmt_sqlstate(stmt), mysql_stmt_error(stmt));

    } else {
        db->err = mysql_errno(db->mysql);
        opay_db_describe(db->error, sizeof(db->error), db->err,
                         mysql_sqlstate(db->mysql), mysql_error(db->mysql));
    }

    rc = opay_db_classify(db->err);

    if (rc == OPAY_DB_OK) {
        rc = OPAY_DB_ERROR;
    }

    if (rc == OPAY_DB_RETRY || rc == OPAY_DB_LOST || rc == OPAY_DB_DOWN) {
        db->tx_rc = rc;
    }

    /* another server may be there for the next connection */

    if (rc == OPAY_DB_LOST || rc == OPAY_DB_DOWN) {
        opay_db_drop(db);
    }

    return rc;
}


opay_db_rc_t
opay_db_fault(opay_db_t *db, const char *text)
{
    db->err = 0;
    (void) snprintf(db->error, sizeof(db->error), "%s", text);

    return OPAY_DB_ERROR;
}


opay_db_rc_t
opay_db_begin(opay_db_t *db)
{
    opay_db_rollback(db);

    db->in_tx = 1;
    db->tx_used = 0;
    db->tx_rc = OPAY_DB_OK;

    return OPAY_DB_OK;
}


opay_db_rc_t
opay_db_commit(opay_db_t *db)
{
    opay_db_rc_t  rc;

    if (!db->in_tx) {
        return opay_db_fault(db, "commit outside a transaction");
    }

    if (db->tx_rc != OPAY_DB_OK) {
        rc = db->tx_rc;
        opay_db_rollback(db);
        return rc;
    }

    rc = OPAY_DB_OK;

    if (db->tx_used) {

        rc = opay_db_simple(db, "COMMIT");

        if (rc == OPAY_DB_LOST || opay_db_interrupted(db->err)) {
            opay_db_drop(db);
            rc = OPAY_DB_UNKNOWN;

        } else if (rc != OPAY_DB_OK) {
            opay_db_rollback(db);
        }
    }

    db->in_tx = 0;

    return rc;
}


void
opay_db_rollback(opay_db_t *db)
{
    if (!db->in_tx) {
        return;
    }

    if (db->mysql && db->tx_used && mysql_real_query(db->mysql, "ROLLBACK", 8))
    {
        opay_db_drop(db);
    }

    db->in_tx = 0;
    db->tx_rc = OPAY_DB_OK;
}


opay_db_rc_t
opay_db_savepoint(opay_db_t *db)
{
    opay_db_rc_t  rc;

    rc = opay_db_ready(db);

    return rc == OPAY_DB_OK ? opay_db_simple(db, "SAVEPOINT opay") : rc;
}


opay_db_rc_t
opay_db_rollback_to(opay_db_t *db)
{
    opay_db_rc_t  rc;

    rc = opay_db_ready(db);

    return rc == OPAY_DB_OK ? opay_db_simple(db, "ROLLBACK TO opay") : rc;
}
