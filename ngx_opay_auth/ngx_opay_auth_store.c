
/* SQL of the auth service: see ngx_opay_auth.h.  Pool threads only. */

#include "ngx_opay_auth.h"


/* the database's clock, in ms; SYSDATE moves within a transaction */
#define NGX_OPAY_AUTH_NOW                                                    \
    "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"


opay_db_rc_t
ngx_opay_auth_user_find(opay_db_t *db, opay_arena_t *a, opay_str_t email,
    ngx_opay_auth_user_t *user, unsigned *found)
{
    opay_str_t        s;
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    *found = 0;
    v = opay_db_text(email);

    rc = opay_db_query(db, a,
                       "SELECT id, password, roles, status = 'ACTIVE', "
                       "cred_epoch FROM users WHERE email = ?", &v, 1, &res);

    if (rc != OPAY_DB_OK || res.rows == 0) {
        return rc;
    }

    s = opay_db_get_str(&res, 0, 1);

    if (opay_db_get_uuid(&res, 0, 0, &user->id) != OPAY_OK
        || s.len >= sizeof(user->phc))
    {
        return OPAY_DB_ERROR;
    }

    memcpy(user->phc, s.data, s.len);
    user->phc[s.len] = '\0';
    user->roles = opay_db_get_i64(&res, 0, 2);
    user->active = opay_db_get_i64(&res, 0, 3);
    user->epoch = opay_db_get_i64(&res, 0, 4);
    *found = 1;

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_auth_user_insert(opay_db_t *db, const ngx_opay_auth_user_t *user,
    int64_t now)
{
    opay_db_value_t  v[6];

    v[0] = opay_db_uuid(&user->id);
    v[1] = opay_db_text(opay_str_of(user->email));
    v[2] = opay_db_text(opay_str_of(user->phc));
    v[3] = opay_db_i64(user->roles);
    v[4] = opay_db_i64(now);
    v[5] = opay_db_i64(now);

    return opay_db_exec(db,
                        "INSERT INTO users (id, email, password, roles, "
                        "status, version, created_at, updated_at) "
                        "VALUES (?, ?, ?, ?, 'ACTIVE', 1, ?, ?)",
                        v, 6, NULL);
}


/* Only while the hash is still the one that was verified. */

opay_db_rc_t
ngx_opay_auth_user_password(opay_db_t *db, const opay_uuid_t *id,
    const char *old_phc, const char *phc)
{
    opay_db_value_t  v[3];

    v[0] = opay_db_text(opay_str_of(phc));
    v[1] = opay_db_uuid(id);
    v[2] = opay_db_text(opay_str_of(old_phc));

    return opay_db_exec(db, "UPDATE users SET password = ? "
                        "WHERE id = ? AND password = ?", v, 3, NULL);
}


opay_db_rc_t
ngx_opay_auth_session_insert(opay_db_t *db, const ngx_opay_auth_session_t *s,
    int64_t epoch, int64_t idle_ttl, int64_t abs_ttl, opay_str_t device)
{
    opay_db_value_t  v[7];

    v[0] = opay_db_uuid(&s->sid);
    v[1] = opay_db_uuid(&s->user);
    v[2] = opay_db_bytes(s->cur, 32);
    v[3] = opay_db_i64(idle_ttl);
    v[4] = opay_db_i64(abs_ttl);
    v[5] = opay_db_i64(epoch);
    v[6] = opay_db_text_or_null(device);

    return opay_db_exec(db,
                        "INSERT INTO sessions (sid, user_id, gen, cur_hash, "
                        "rotated_at, created_at, idle_exp, abs_exp, "
                        "cred_epoch, device) "
                        "SELECT ?, ?, 0, ?, t.now, t.now, t.now + ?, "
                        "t.now + ?, ?, ? "
                        "FROM (SELECT " NGX_OPAY_AUTH_NOW " AS now) t",
                        v, 7, NULL);
}


/*
 * EXISTS, not JOIN: the users row is read without a lock, which is safe since
 * whatever changes it revokes the sessions in the same transaction.
 */

opay_db_rc_t
ngx_opay_auth_session_rotate(opay_db_t *db, const opay_uuid_t *sid,
    int64_t gen, const uint8_t *cur, const uint8_t *next, int64_t idle_ttl,
    unsigned *rotated)
{
    uint64_t         n;
    opay_db_rc_t     rc;
    opay_db_value_t  v[5];

    v[0] = opay_db_bytes(next, 32);
    v[1] = opay_db_i64(idle_ttl);
    v[2] = opay_db_uuid(sid);
    v[3] = opay_db_i64(gen);
    v[4] = opay_db_bytes(cur, 32);

    /* assignments run left to right: prev_hash takes the old cur_hash */

    rc = opay_db_exec(db,
                      "UPDATE sessions s SET s.prev_hash = s.cur_hash, "
                      "s.cur_hash = ?, s.gen = s.gen + 1, "
                      "s.rotated_at = " NGX_OPAY_AUTH_NOW ", "
                      "s.idle_exp = LEAST(" NGX_OPAY_AUTH_NOW " + ?, "
                      "s.abs_exp) "
                      "WHERE s.sid = ? AND s.gen = ? AND s.cur_hash = ? "
                      "AND s.revoked_at IS NULL "
                      "AND s.idle_exp > " NGX_OPAY_AUTH_NOW " "
                      "AND s.abs_exp > " NGX_OPAY_AUTH_NOW " "
                      "AND EXISTS (SELECT 1 FROM users u "
                      "WHERE u.id = s.user_id AND u.status = 'ACTIVE' "
                      "AND u.cred_epoch = s.cred_epoch)",
                      v, 5, &n);

    *rotated = (rc == OPAY_DB_OK && n == 1);

    return rc;
}


opay_db_rc_t
ngx_opay_auth_session_get(opay_db_t *db, opay_arena_t *a,
    const opay_uuid_t *sid, ngx_opay_auth_session_t *s, unsigned *found)
{
    opay_str_t        h;
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    *found = 0;
    v = opay_db_uuid(sid);

    rc = opay_db_query(db, a,
                       "SELECT s.user_id, s.gen, s.cur_hash, s.prev_hash, "
                       "s.rotated_at, s.revoked_at IS NOT NULL, "
                       "s.revoked_at IS NULL "
                       "AND s.idle_exp > " NGX_OPAY_AUTH_NOW " "
                       "AND s.abs_exp > " NGX_OPAY_AUTH_NOW " "
                       "AND u.status = 'ACTIVE' "
                       "AND u.cred_epoch = s.cred_epoch, "
                       "u.roles, " NGX_OPAY_AUTH_NOW " "
                       "FROM sessions s JOIN users u ON u.id = s.user_id "
                       "WHERE s.sid = ?", &v, 1, &res);

    if (rc != OPAY_DB_OK || res.rows == 0) {
        return rc;
    }

    s->sid = *sid;
    s->gen = opay_db_get_i64(&res, 0, 1);
    s->rotated = opay_db_get_i64(&res, 0, 4);
    s->revoked = opay_db_get_i64(&res, 0, 5);
    s->usable = opay_db_get_i64(&res, 0, 6);
    s->roles = opay_db_get_i64(&res, 0, 7);
    s->now = opay_db_get_i64(&res, 0, 8);

    h = opay_db_get_str(&res, 0, 2);

    if (opay_db_get_uuid(&res, 0, 0, &s->user) != OPAY_OK || h.len != 32) {
        return OPAY_DB_ERROR;
    }

    memcpy(s->cur, h.data, 32);

    h = opay_db_get_str(&res, 0, 3);
    s->has_prev = (h.data && h.len == 32);

    if (s->has_prev) {
        memcpy(s->prev, h.data, 32);
    }

    *found = 1;

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_auth_session_revoke(opay_db_t *db, const opay_uuid_t *sid,
    const char *reason, unsigned *revoked)
{
    uint64_t         n;
    opay_db_rc_t     rc;
    opay_db_value_t  v[2];

    v[0] = opay_db_text(opay_str_of(reason));
    v[1] = opay_db_uuid(sid);

    rc = opay_db_exec(db,
                      "UPDATE sessions SET revoke_reason = ?, "
                      "revoked_at = " NGX_OPAY_AUTH_NOW " "
                      "WHERE sid = ? AND revoked_at IS NULL", v, 2, &n);

    *revoked = (rc == OPAY_DB_OK && n == 1);

    return rc;
}
