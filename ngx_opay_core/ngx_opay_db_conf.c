
/* The database of a server, checked when its directives are merged. */

#include "ngx_opay_conf.h"


#define NGX_OPAY_DB_TIMEOUT_MAX  60000


static char *ngx_opay_db_limits(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf);
static char *ngx_opay_db_address(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf);


char *
ngx_opay_db_conf(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf)
{
    opay_str_t       secret;
    opay_db_conf_t  *db;

    if (conf->db.len == 0 || conf->db_name.len == 0 || conf->db_user.len == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_%s\" needs \"opay_db\", \"opay_db_name\" "
                           "and \"opay_db_user\"", conf->service->name);
        return NGX_CONF_ERROR;
    }

    /* strings of the configuration are NUL-terminated */

    db = &conf->db_conf;
    db->database = (char *) conf->db_name.data;
    db->user = (char *) conf->db_user.data;
    db->password = "";
    db->connect_timeout = conf->db_connect_timeout;
    db->timeout = conf->db_timeout;
    db->lock_timeout = conf->db_lock_timeout;

    if (ngx_opay_db_limits(cf, conf) != NGX_CONF_OK
        || ngx_opay_db_address(cf, conf) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->db_password_file.len == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_opay_conf_secret(cf, "opay_db_password_file",
                             &conf->db_password_file, &secret)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    db->password = secret.data;

    return NGX_CONF_OK;
}


/* 0 would be no limit: a thread could wait for ever. */

static char *
ngx_opay_db_limits(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf)
{
    if (conf->db_timeout == 0 || conf->db_timeout > NGX_OPAY_DB_TIMEOUT_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_db_timeout\" must be between 1ms and 60s");
        return NGX_CONF_ERROR;
    }

    if (conf->db_connect_timeout == 0
        || conf->db_connect_timeout > NGX_OPAY_DB_TIMEOUT_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_db_connect_timeout\" must be between 1ms "
                           "and 60s");
        return NGX_CONF_ERROR;
    }

    if (conf->db_lock_timeout < 1 || conf->db_lock_timeout > 60) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_db_lock_timeout\" must be between 1s and "
                           "60s");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_opay_db_address(ngx_conf_t *cf, ngx_opay_srv_conf_t *conf)
{
    u_char              *p;
    size_t               n;
    ngx_int_t            port;
    opay_db_conf_t      *db;
    struct sockaddr_un   sun;

    db = &conf->db_conf;

    if (ngx_strncmp(conf->db.data, "unix:", 5) == 0) {

        n = conf->db.len - 5;

        if (n == 0 || n >= sizeof(sun.sun_path)) {
            goto invalid;
        }

        db->socket = (char *) conf->db.data + 5;

        return NGX_CONF_OK;
    }

    p = ngx_strlchr(conf->db.data, conf->db.data + conf->db.len, ':');

    if (p == NULL || p == conf->db.data) {
        goto invalid;
    }

    port = ngx_atoi(p + 1, conf->db.data + conf->db.len - p - 1);

    if (port < 1 || port > 65535) {
        goto invalid;
    }

    /* a copy: servers that inherit the text share it */

    n = p - conf->db.data;

    p = ngx_pnalloc(cf->pool, n + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *ngx_cpymem(p, conf->db.data, n) = '\0';

    db->host = (char *) p;
    db->port = port;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"opay_db\" must be unix:/path or host:port, "
                       "not \"%V\"", &conf->db);

    return NGX_CONF_ERROR;
}
