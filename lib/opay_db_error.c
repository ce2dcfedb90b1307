
/*
 * What the error numbers of MySQL and MariaDB mean to us.  Numbers, because
 * neither library's headers name them all.
 */

#include <stdio.h>

#include "opay_db_priv.h"


opay_db_rc_t
opay_db_classify(unsigned err)
{
    switch (err) {

    case 0:
        return OPAY_DB_OK;

    case 1062:                         /* duplicate entry */
    case 1022:
    case 1169:
    case 1586:
        return OPAY_DB_DUP;

    case 1048:                         /* column cannot be null */
    case 1216:                         /* foreign keys */
    case 1217:
    case 1451:
    case 1452:
    case 1264:                         /* out of range */
    case 1265:                         /* data truncated */
    case 1292:                         /* incorrect value */
    case 1364:                         /* no default value */
    case 1366:                         /* incorrect string value */
    case 1406:                         /* data too long */
    case 1644:                         /* SIGNAL, of a trigger */
    case 1690:                         /* arithmetic out of range */
    case 3819:                         /* CHECK, MySQL */
    case 4025:                         /* CHECK, MariaDB */
        return OPAY_DB_CONSTRAINT;

    case 1020:                         /* record has changed since last read */
    case 1205:                         /* lock wait timeout */
    case 1213:                         /* deadlock */
    case 1317:                         /* KILL QUERY */
    case 1412:                         /* table definition has changed */
    case 1615:                         /* statement needs to be prepared */
    case 1969:                         /* statement time limit, MariaDB */
    case 3024:                         /* statement time limit, MySQL */
        return OPAY_DB_RETRY;

    case 1053:                         /* server shutdown in progress */
    case 1158:                         /* network read and write errors, */
    case 1159:                         /* as the server sees them */
    case 1160:
    case 1161:
    case 1243:                         /* unknown prepared statement */
    case 1927:                         /* connection was killed, MariaDB */
    case 3169:                         /* session was killed, MySQL */
    case 4031:                         /* disconnected as inactive, MySQL */
    case 2006:                         /* server has gone away */
    case 2012:                         /* error in server handshake */
    case 2013:                         /* lost connection during query */
    case 2014:                         /* commands out of sync */
    case 2026:                         /* TLS */
    case 2027:                         /* malformed packet */
    case 2055:                         /* lost connection at ... */
    case 2056:                         /* statement closed indirectly */
    case 2057:                         /* columns have changed */
        return OPAY_DB_LOST;

    case 1021:                         /* disk full */
    case 1114:                         /* table is full */
    case 1290:                         /* --read-only */
    case 1836:                         /* read-only mode */
    case 1040:                         /* too many connections */
    case 1203:
    case 1226:
    case 2002:                         /* cannot connect */
    case 2003:
    case 2005:
        return OPAY_DB_DOWN;

    default:
        return OPAY_DB_ERROR;
    }
}


const char *
opay_db_rc_name(opay_db_rc_t rc)
{
    static const char *const  names[] = {
        "ok", "dup", "constraint", "retry", "lost", "unknown", "down",
        "error", "rollback", "split"
    };

    if ((size_t) rc >= sizeof(names) / sizeof(names[0])) {
        return "invalid";
    }

    return names[rc];
}


void
opay_db_describe(char *dst, size_t size, unsigned err, const char *sqlstate,
    const char *message)
{
    const char  *key;

    switch (err) {

    case 1062:
        key = strstr(message, " for key ");

        for (message = key; key; key = strstr(key + 1, " for key ")) {
            message = key;             /* the value may say it, too */
        }

        (void) snprintf(dst, size, "duplicate entry%s",
                        message ? message : "");
        return;

    /* names of ours in it, and numbers */

    case 1020: case 1040: case 1044: case 1045: case 1048: case 1049:
    case 1054: case 1114: case 1142: case 1143: case 1146: case 1205:
    case 1213: case 1264: case 1290: case 1364: case 1406: case 1615:
    case 3819: case 4025:
        (void) snprintf(dst, size, "%s", message);
        return;

    default:
        break;
    }

    if (err >= 2000 && err < 3000) {   /* the client library's own */
        (void) snprintf(dst, size, "%s", message);
        return;
    }

    (void) snprintf(dst, size, "server error %u, state %s", err, sqlstate);
}
