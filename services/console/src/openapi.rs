//! The description of the API in `OpenAPI` 3.1, made from the table of actions.

use axum::Json;
use axum::response::{IntoResponse, Response};
use operate::{ACTIONS, Action};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
};

use crate::auth::COOKIE;

/// Where a program logs in.
pub(crate) const SESSION: &str = "/api/v1/session";
/// What every refusal answers, by its name among the components.
const ERROR: &str = "Error";
/// What may be refused of any action.
const REFUSALS: [(&str, &str); 5] = [
    ("400", "The arguments are wrong"),
    ("401", "Nobody is logged in"),
    ("403", "The role does not allow it"),
    ("422", "The state refuses it"),
    ("503", "A service that it needs is away"),
];

/// Answers the description; it says nothing of anybody, so nobody needs to be logged in.
pub(crate) async fn openapi() -> Response {
    Json(description()).into_response()
}

fn description() -> OpenApi {
    let mut paths = PathsBuilder::new().path(SESSION, PathItem::new(HttpMethod::Post, log_in()));
    for action in ACTIONS {
        let method = if action.changes {
            HttpMethod::Post
        } else {
            HttpMethod::Get
        };
        paths = paths.path(action.path(), PathItem::new(method, operation(action)));
    }
    let info = InfoBuilder::new()
        .title("Kvit")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("What the console and the command can do."));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(format!("The token that POST {SESSION} answers")));
    let cookie = ApiKeyValue::with_description(
        COOKIE,
        "A browser's session; what changes wants the console's own origin",
    );
    let error = ObjectBuilder::new()
        .property("error", ObjectBuilder::new().schema_type(Type::String))
        .required("error");
    let components = ComponentsBuilder::new()
        .schema(ERROR, error)
        .security_scheme("token", SecurityScheme::Http(bearer.build()))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let either = ["token", "session"].map(|name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.build()))
        .security(Some(either))
        .build()
}

fn operation(action: &Action) -> OperationBuilder {
    let roles: Vec<_> = action.roles.iter().map(|role| role.as_str()).collect();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(action.name))
        .summary(Some(action.about))
        .description(Some(format!("Roles: {}", roles.join(", "))))
        .response("200", answer("What came of it", None));
    for (status, why) in REFUSALS {
        operation = operation.response(status, refusal(why));
    }
    let takes = (action.takes)();
    if action.changes {
        return operation.request_body(Some(body(takes)));
    }
    let RefOr::T(Schema::Object(object)) = takes else {
        return operation;
    };
    for (name, schema) in object.properties {
        let required = if object.required.contains(&name) {
            Required::True
        } else {
            Required::False
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(required)
            .schema(Some(schema));
        operation = operation.parameter(parameter);
    }
    operation
}

fn log_in() -> OperationBuilder {
    let word = || ObjectBuilder::new().schema_type(Type::String);
    let takes = ObjectBuilder::new()
        .property("login", word())
        .property("password", word())
        .required("login")
        .required("password");
    let gives = ObjectBuilder::new()
        .property("token", word())
        .property("role", word())
        .required("token")
        .required("role");
    OperationBuilder::new()
        .operation_id(Some("session.begin"))
        .summary(Some("Logs a program in"))
        // Whoever logs in is nobody yet.
        .securities(Some([SecurityRequirement::default()]))
        .request_body(Some(body(Schema::from(takes).into())))
        .response("200", answer("Logged in", Some(Schema::from(gives).into())))
        .response("401", refusal("No such login with this password"))
        .response("429", refusal("Too many tries"))
}

fn body(schema: RefOr<Schema>) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let body = RequestBodyBuilder::new().content("application/json", content);
    body.required(Some(Required::True)).build()
}

fn answer(what: &str, schema: Option<RefOr<Schema>>) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(schema).build();
    ResponseBuilder::new()
        .description(what)
        .content("application/json", content)
}

fn refusal(why: &str) -> ResponseBuilder {
    answer(why, Some(Ref::from_schema_name(ERROR).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> serde_json::Value {
        serde_json::to_value(description()).unwrap()
    }

    #[test]
    fn the_description_is_openapi_3_1_and_has_every_action() {
        let api = written();
        assert!(
            api["openapi"].as_str().unwrap().starts_with("3.1"),
            "{}",
            api["openapi"]
        );
        for action in ACTIONS {
            let method = if action.changes { "post" } else { "get" };
            assert_eq!(api["paths"][action.path()][method]["operationId"], action.name);
        }
        let discard = &api["paths"]["/api/v1/duty/discard"]["post"]["requestBody"]["content"]["application/json"];
        assert!(discard["schema"]["properties"]["why"].is_object(), "{discard}");
    }

    #[test]
    fn the_description_says_how_to_log_in_and_what_a_refusal_is() {
        let api = written();
        let session = &api["paths"][SESSION]["post"];
        assert_eq!(session["security"], serde_json::json!([{}]), "nobody is logged in yet");
        assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
        let refused = &api["paths"]["/api/v1/duty/discard"]["post"]["responses"]["422"];
        let schema = &refused["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/Error");
        assert!(api["components"]["schemas"]["Error"]["properties"]["error"].is_object());
    }
}
