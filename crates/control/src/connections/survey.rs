//! Trying out every base connection of the store, for `headwaters check`.

use headwaters_model::connection::Connection;
use headwaters_model::explore::ServerInfo;
use headwaters_model::page::ListQuery;
use headwaters_model::sandbox::Scope;
use headwaters_model::source_error::SourceError;

use crate::Control;
use crate::error::CommandError;

/// A base connection that was tried out.
#[derive(Debug)]
pub struct Surveyed {
    /// Its name, its id and its sandbox, for a person.
    pub title: String,
    /// Whom it reached, or why nobody.
    pub outcome: Result<ServerInfo, SourceError>,
}

impl Control {
    /// Tries out all base connections of all sandboxes, one after the other, and hands each outcome on as it comes.
    /// Drafts that can not be reached yet are left out.
    pub async fn survey_connections(&self, mut found: impl FnMut(Surveyed)) -> Result<(), CommandError> {
        for org in self.store.organisations().await? {
            for sandbox in self.store.sandboxes(&org).await? {
                self.survey(&sandbox.scope(), &mut found).await?;
            }
        }
        Ok(())
    }

    async fn survey(&self, scope: &Scope, found: &mut impl FnMut(Surveyed)) -> Result<(), CommandError> {
        let mut query = ListQuery::all();
        loop {
            let mut tx = self.store.read(scope).await?;
            let page = tx.list::<Connection>(&query).await?;
            drop(tx);
            for connection in page.items.iter().filter(|connection| connection.body.auth.is_some()) {
                let title = format!("{} ({}) of {}", connection.body.name, connection.id, scope.sandbox_name);
                let access = self.access(connection).await?;
                let outcome = self.probe(&access).await;
                found(Surveyed { title, outcome });
            }
            match page.next {
                None => return Ok(()),
                after => query.after = after,
            }
        }
    }
}
