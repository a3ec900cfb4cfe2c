// Defaults; a person may change them.
pref("app.donation.eoy.version.viewed", 999);
pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
pref("mail.rights.version", 1);
pref("mail.shell.checkDefaultClient", false);
pref("mailnews.start_page.enabled", false);
pref("mailnews.start_page.override_url", "");
