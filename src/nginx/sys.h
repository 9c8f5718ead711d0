/*
 * Macros of nginx that bindgen cannot turn into constants by itself, because they are expressions
 * or name an enumerator. Each is held by a constant of its own here, which build.rs hands to Rust
 * under the macro's name.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

const ngx_int_t RTMP_NGX_READ_EVENT = NGX_READ_EVENT;
const ngx_int_t RTMP_NGX_WRITE_EVENT = NGX_WRITE_EVENT;
const ngx_uint_t RTMP_NGX_CLEAR_EVENT = NGX_CLEAR_EVENT;
const ngx_uint_t RTMP_NGX_LEVEL_EVENT = NGX_LEVEL_EVENT;
const ngx_uint_t RTMP_NGX_CLOSE_EVENT = NGX_CLOSE_EVENT;
const ngx_uint_t RTMP_NGX_DISABLE_EVENT = NGX_DISABLE_EVENT;

const intptr_t RTMP_NGX_CONF_ERROR = (intptr_t) NGX_CONF_ERROR;
const intptr_t RTMP_NGX_NO_RESOLVER = (intptr_t) NGX_NO_RESOLVER;
