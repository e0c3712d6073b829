//! All that a configuration says of new calls: loaded and checked as a whole, then put in place.

use std::sync::Arc;

use dialplan::Plan;
use media::prompt::PromptStore;
use media::sdp::{Capabilities, Security};
use tracing::warn;

use crate::auth::TokenKey;
use crate::calls::Policy;
use crate::config::{self, Config};
use crate::http::phone::Number;
use crate::plan;
use crate::server::StartError;
use crate::users::Users;

/// What new calls run on.
#[derive(Debug)]
pub struct Loaded {
    /// The dialplan.
    pub plan: Plan,
    /// Context of callers who are not authenticated.
    pub public_context: String,
    /// What can be called without a password.
    pub numbers: Vec<Number>,
    /// Users by name.
    pub users: Arc<Users>,
    /// Sounds and tones.
    pub prompts: Arc<PromptStore>,
    /// The sound that who is on hold hears.
    pub hold_music: String,
    /// What may be negotiated.
    pub capabilities: Capabilities,
    /// What ends a call by itself, and whom a call may call.
    pub policy: Policy,
    /// How callers show who they are.
    pub auth: config::Auth,
    /// What tokens are signed with.
    pub token_key: TokenKey,
}

impl Loaded {
    /// Loads and checks everything; sounds that are ready in `former` are taken over. Runs apart, since decoding and encoding take long.
    ///
    /// # Errors
    /// The first thing that cannot be used.
    pub async fn load(
        config: &Config,
        former: Option<&Arc<PromptStore>>,
    ) -> Result<Self, StartError> {
        let (config, former) = (config.clone(), former.cloned());
        match tokio::task::spawn_blocking(move || load(&config, former.as_deref())).await {
            Ok(loaded) => loaded,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

fn load(config: &Config, former: Option<&PromptStore>) -> Result<Loaded, StartError> {
    let users = Users::new(config)?;
    let (plan, prompts) = plan::load_after(config, former)?;
    plan::check_contexts(&plan, &users, config)?;
    plan::check_exposure(&plan, &users, config)?;
    let public_context = config.dialplan.context.clone();
    let numbers = plan.numbers(&public_context).into_iter();
    Ok(Loaded {
        numbers: numbers
            .map(|number| Number { number: number.number, name: number.extension })
            .collect(),
        plan,
        public_context,
        users: Arc::new(users),
        prompts: Arc::new(prompts),
        hold_music: config.sounds.hold_music.clone(),
        capabilities: Capabilities {
            codecs: plan::codecs(config),
            security: Security::Optional,
            ..Default::default()
        },
        policy: Policy::from(config),
        auth: config.auth.clone(),
        token_key: TokenKey::of(config).unwrap_or_else(|error| {
            warn!(%error, "tokens are not taken");
            TokenKey::unknown()
        }),
    })
}
