
/* SQL of the user service: see ngx_opay_user.h.  Pool threads only. */

#include "ngx_opay_user.h"


#define NGX_OPAY_USER_COLUMNS                                                \
    "id, email, name, phone_number, address, roles, status, version, "       \
    "event_version, created_at, updated_at"


static opay_db_rc_t ngx_opay_user_row(const opay_db_result_t *res, size_t i,
    ngx_opay_user_profile_t *p);


opay_db_rc_t
ngx_opay_user_find(opay_db_t *db, opay_arena_t *a, const opay_uuid_t *ids,
    size_t n, ngx_opay_user_profile_t *out, size_t *found)
{
    size_t            i;
    opay_db_rc_t      rc;
    opay_db_value_t  *v;
    opay_db_result_t  res;

    *found = 0;

    v = opay_arena_alloc(a, n * sizeof(opay_db_value_t));
    if (v == NULL) {
        return OPAY_DB_ERROR;
    }

    for (i = 0; i < n; i++) {
        v[i] = opay_db_uuid(&ids[i]);
    }

    rc = opay_db_query_in(db, a, "SELECT " NGX_OPAY_USER_COLUMNS
                          " FROM profiles WHERE id IN ", "", v, n, &res);

    for (i = 0; rc == OPAY_DB_OK && i < res.rows && i < n; i++) {
        rc = ngx_opay_user_row(&res, i, &out[i]);
        *found = i + 1;
    }

    return rc;
}


opay_db_rc_t
ngx_opay_user_lock(opay_db_t *db, opay_arena_t *a, const opay_uuid_t *id,
    ngx_opay_user_profile_t *out, unsigned *found)
{
    opay_db_rc_t      rc;
    opay_db_value_t   v;
    opay_db_result_t  res;

    v = opay_db_uuid(id);

    rc = opay_db_query(db, a, "SELECT " NGX_OPAY_USER_COLUMNS
                       " FROM profiles WHERE id = ? FOR UPDATE", &v, 1,
                       &res);

    *found = (rc == OPAY_DB_OK && res.rows == 1);

    return *found ? ngx_opay_user_row(&res, 0, out) : rc;
}


static opay_db_rc_t
ngx_opay_user_row(const opay_db_result_t *res, size_t i,
    ngx_opay_user_profile_t *p)
{
    p->email = opay_db_get_str(res, i, 1);
    p->name = opay_db_get_str(res, i, 2);
    p->phone = opay_db_get_str(res, i, 3);
    p->address = opay_db_get_str(res, i, 4);
    p->roles = opay_db_get_i64(res, i, 5);
    p->status = opay_db_get_str(res, i, 6);
    p->version = opay_db_get_i64(res, i, 7);
    p->event_version = opay_db_get_i64(res, i, 8);
    p->created = opay_db_get_i64(res, i, 9);
    p->updated = opay_db_get_i64(res, i, 10);

    return opay_db_get_uuid(res, i, 0, &p->id) == OPAY_OK ? OPAY_DB_OK
                                                           : OPAY_DB_ERROR;
}


opay_db_rc_t
ngx_opay_user_insert(opay_db_t *db, const ngx_opay_user_profile_t *p)
{
    opay_db_value_t  v[11];

    v[0] = opay_db_uuid(&p->id);
    v[1] = opay_db_text_or_null(p->email);
    v[2] = opay_db_text_or_null(p->name);
    v[3] = opay_db_text_or_null(p->phone);
    v[4] = opay_db_text_or_null(p->address);
    v[5] = opay_db_i64(p->roles);
    v[6] = opay_db_text(p->status);
    v[7] = opay_db_i64(p->version);
    v[8] = opay_db_i64(p->event_version);
    v[9] = opay_db_i64(p->created);
    v[10] = opay_db_i64(p->updated);

    return opay_db_exec(db, "INSERT INTO profiles (" NGX_OPAY_USER_COLUMNS
                        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                        "ON DUPLICATE KEY UPDATE id = id", v, 11, NULL);
}


opay_db_rc_t
ngx_opay_user_update(opay_db_t *db, const ngx_opay_user_profile_t *p)
{
    opay_db_value_t  v[10];

    v[0] = opay_db_text_or_null(p->email);
    v[1] = opay_db_text_or_null(p->name);
    v[2] = opay_db_text_or_null(p->phone);
    v[3] = opay_db_text_or_null(p->address);
    v[4] = opay_db_i64(p->roles);
    v[5] = opay_db_text(p->status);
    v[6] = opay_db_i64(p->version);
    v[7] = opay_db_i64(p->event_version);
    v[8] = opay_db_i64(p->updated);
    v[9] = opay_db_uuid(&p->id);

    return opay_db_exec(db, "UPDATE profiles SET email = ?, name = ?, "
                        "phone_number = ?, address = ?, roles = ?, "
                        "status = ?, version = ?, event_version = ?, "
                        "updated_at = ? WHERE id = ?", v, 10, NULL);
}
