//! The web page and the JSON API for operations: see everything but the data, and act on it.
//!
//! Both show and do what `operate` has in its one table, with the role and the departments of the person who is logged
//! in. Pages are plain HTML that reads without JavaScript; htmx refreshes what changes.
//!
//! What this service is not: it reads no key and no answer of a form, only the store; and it runs nothing itself.

mod api;
mod auth;
mod cells;
mod deeds;
mod guard;
mod live;
mod oidc;
mod openapi;
mod overview;
mod pages;
mod queues;
mod tables;
mod view;
mod words;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use operate::Desk;
use runtime::{Check, Context, Loaded};
use tokio_util::sync::CancellationToken;

use crate::auth::Door;
use crate::live::Live;
use crate::oidc::Oidc;
use crate::queues::Queues;
use crate::words::Phrases;

pub use auth::hash;

/// How often it is looked whether the store answers.
const LOOK: Duration = Duration::from_secs(5);

/// The console.
pub struct Console {
    desk: Desk,
    door: Door,
    oidc: Option<Oidc>,
    live: Live,
    queues: Queues,
    phrases: Phrases,
    store: Check,
    shutdown: CancellationToken,
}

impl Console {
    /// Opens what the configuration names; nothing is served yet.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be used (78).
    pub fn open(loaded: &Arc<Loaded>, context: &Context) -> anyhow::Result<Arc<Self>> {
        let desk = Desk {
            ledger: worker::ledger(&loaded.config)?,
            loaded: Arc::clone(loaded),
            clock: context.clock.clone(),
        };
        Ok(Arc::new(Self {
            door: Door::open(&loaded.config.console)?,
            oidc: loaded.config.console.oidc.as_ref().map(Oidc::open).transpose()?,
            live: Live::new(desk.clone()),
            queues: Queues::new(desk.clone()),
            phrases: Phrases::read(),
            store: context.health.check("store"),
            shutdown: context.shutdown.clone(),
            desk,
        }))
    }

    /// The pages and the API.
    pub fn router(self: &Arc<Self>) -> Router {
        let pages = Router::new()
            .route("/", get(overview::overview))
            .route("/live", get(live::stream))
            .route("/submissions/show", get(pages::submission))
            .route("/schedules/show", get(pages::schedule))
            .route("/events/show", get(pages::event))
            .route("/evidence/prove", get(pages::prove))
            .route("/keys-of-the-keyboard", get(deeds::keyboard))
            .route("/confirm", get(deeds::confirm))
            .route("/act/{name}", post(deeds::act))
            .route("/login", get(deeds::login).post(deeds::log_in))
            .route("/login/oidc", get(deeds::begin_oidc))
            .route(oidc::BACK, get(deeds::finish_oidc))
            .route("/logout", post(deeds::log_out))
            .route("/language", post(deeds::language))
            .route("/static/{file}", get(view::file))
            .route("/api/v1/openapi.json", get(openapi::openapi))
            .route(openapi::SESSION, post(api::log_in))
            .route("/{list}", get(pages::list));
        api::routes(pages)
            .layer(from_fn_with_state(Arc::clone(self), guard::guard))
            .with_state(Arc::clone(self))
    }

    /// Looks after it until it is told to stop.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.watch_ledger(), self.watch_queues());
    }

    /// A look that is under way when it is told to stop is given up.
    async fn watch_queues(&self) {
        let looking = async {
            let mut ticks = tokio::time::interval(queues::LOOK);
            loop {
                ticks.tick().await;
                self.queues.look().await;
            }
        };
        self.shutdown.run_until_cancelled(looking).await;
    }

    async fn watch_ledger(&self) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.live.watch(&self.queues) => {}
                _ = ticks.tick() => match self.desk.ledger.pauses(self.desk.clock.now()).await {
                    Ok(_) => self.store.up(),
                    Err(error) => self.store.down(&error.to_string()),
                },
            }
        }
    }
}

/// Runs the program of the service.
pub async fn main() -> ExitCode {
    // The page is made before the service runs, on the address of the probes.
    let (give, take) = tokio::sync::oneshot::channel();
    runtime::start_page(
        "kvit-console",
        |config| config.console.listen.as_str(),
        move |loaded, context| {
            let console = Console::open(loaded, context)?;
            let router = console.router();
            let _ = give.send(console);
            Ok(router)
        },
        |_, _| async move {
            let console = take.await?;
            console.run().await;
            Ok(())
        },
    )
    .await
}
