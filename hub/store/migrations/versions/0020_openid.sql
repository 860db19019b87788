-- Who signs in at the OpenID provider is somebody here only if an account names that subject.
ALTER TABLE accounts ADD COLUMN openid_subject text UNIQUE CHECK (length(openid_subject) BETWEEN 1 AND 255);
