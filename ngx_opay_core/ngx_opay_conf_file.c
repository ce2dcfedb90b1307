
/*
 * Secrets come by file path only: the one reader of such files.
 * Configuration time.
 */

#include "ngx_opay_conf.h"

#include "opay_keyfile.h"


#define NGX_OPAY_CONF_FILE_MAX  16384


static void ngx_opay_conf_file_wipe(void *data);


char *
ngx_opay_conf_file(ngx_conf_t *cf, const char *directive, ngx_str_t *path,
    opay_str_t *text)
{
    u_char              *p;
    ssize_t              n;
    ngx_fd_t             fd;
    ngx_pool_cleanup_t  *cln;

    if (ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(opay_str_t));
    p = ngx_pnalloc(cf->pool, NGX_OPAY_CONF_FILE_MAX + 1);

    if (cln == NULL || p == NULL) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%s\": " ngx_open_file_n " \"%V\" failed",
                           directive, path);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, p, NGX_OPAY_CONF_FILE_MAX);

    (void) ngx_close_file(fd);

    if (n <= 0 || n == NGX_OPAY_CONF_FILE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": \"%V\" is empty, unreadable or has more "
                           "than %d bytes", directive, path,
                           NGX_OPAY_CONF_FILE_MAX - 1);
        return NGX_CONF_ERROR;
    }

    p[n] = '\0';

    text->data = (char *) p;
    text->len = n;

    cln->handler = ngx_opay_conf_file_wipe;
    *(opay_str_t *) cln->data = *text;

    return NGX_CONF_OK;
}


static void
ngx_opay_conf_file_wipe(void *data)
{
    opay_str_t *text = data;

    ngx_explicit_memzero((void *) text->data, text->len);
}


char *
ngx_opay_conf_secret(ngx_conf_t *cf, const char *directive, ngx_str_t *path,
    opay_str_t *secret)
{
    char  *p;

    if (ngx_opay_conf_file(cf, directive, path, secret) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    p = (char *) secret->data;
    secret->len = strcspn(p, "\r\n");
    p[secret->len] = '\0';

    if (secret->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": the first line of \"%V\" is empty",
                           directive, path);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_opay_conf_key(ngx_conf_t *cf, const char *directive, ngx_str_t *path,
    opay_str_t *key)
{
    unsigned         n;
    opay_str_t       text;
    opay_keyfile_t   file;

    if (ngx_opay_conf_file(cf, directive, path, &text) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (opay_keyfile_parse(text, &file, 1, &n) != OPAY_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\": \"%V\" is not one key of 64 hex digits",
                           directive, path);
        return NGX_CONF_ERROR;
    }

    /* the text is longer than the key: it makes room for it */

    ngx_memcpy((void *) text.data, file.key, sizeof(file.key));
    ngx_explicit_memzero(&file, sizeof(file));

    key->data = text.data;
    key->len = sizeof(file.key);

    return NGX_CONF_OK;
}
